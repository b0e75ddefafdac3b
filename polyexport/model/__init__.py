"""Model files: the contract, the conditions, the canvas, and the object that runs a model."""
