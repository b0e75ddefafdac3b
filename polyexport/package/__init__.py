"""What leaves the house: a folder that runs a model without polyexport, with its card and a Triton repository."""
