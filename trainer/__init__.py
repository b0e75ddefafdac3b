"""Training of the conditional UNet: drawings, model, loss, loop, checkpoints.

``trainer.polygons`` needs numpy and pillow alone; every other module needs the ``train`` extra.
"""
