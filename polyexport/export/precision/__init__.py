"""Reduced precisions of a graph, one file each."""
