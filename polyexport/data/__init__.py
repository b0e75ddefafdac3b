"""Drawings that are generated, and paired data sets on disk. Needs NumPy and Pillow alone."""
