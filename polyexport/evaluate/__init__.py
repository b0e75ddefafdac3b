"""Scores of a model on data sets, with a flood fill beside it."""
