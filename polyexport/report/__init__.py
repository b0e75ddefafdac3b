"""HTML pages and plots that evaluate, bench and export share."""
