"""Decoding image files in processes of their own."""
