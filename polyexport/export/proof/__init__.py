"""The comparison of every stage of an export with the PyTorch model."""
