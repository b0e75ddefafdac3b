"""The pipeline on many machines: Ray Data spreads the inputs, and each of its actors runs the stages of one machine."""
