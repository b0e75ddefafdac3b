"""HTML and plots of the reports of evaluate and bench."""
