"""The pipeline on many machines: Ray starts the actors, and each of them runs the stages of one machine."""
