"""The demo: an HTML page to draw on, whose browser runs the model file."""
