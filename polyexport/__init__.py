"""polyexport: a conditional image-to-image network from a PyTorch checkpoint to a folder of finished images."""
