"""Generated drawings, and paired data sets on disk. Needs NumPy and Pillow, no torch."""
