"""Scores of a model on data sets, with two fills that need no network beside it."""
