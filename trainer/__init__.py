"""Training of the conditional UNet: network, batches, loss, loop and checkpoints. Needs the ``train`` extra."""
