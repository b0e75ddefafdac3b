"""Execution providers and the sessions that run a graph on them."""
