"""Watching a folder: a run that goes on with the files that appear."""
