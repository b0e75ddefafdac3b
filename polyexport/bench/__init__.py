"""Benchmarks of a model on this machine, compared with a target."""
