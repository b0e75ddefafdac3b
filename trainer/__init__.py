"""Training of the conditional UNet: drawings, model, loss, loop, checkpoints.

``polyexport.data.drawings`` needs numpy and pillow alone; every other module needs the ``train`` extra.
"""
