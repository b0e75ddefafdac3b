"""A model file: its contract, its conditions, and the object that runs it."""
