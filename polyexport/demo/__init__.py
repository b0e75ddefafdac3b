"""A page to draw on: the model file, run by the browser that shows it."""
