"""Generated outline drawings on which a graph is compared with the PyTorch module."""

import numpy as np
from numpy.typing import NDArray

from polyexport.data.drawing_config import DrawingConfig
from polyexport.data.drawings import draw

__all__ = ["drawings"]

_SEED = 20_260_101


def drawings(count: int, size: int) -> list[NDArray[np.uint8]]:
    """Generate outline drawings, uint8 [size, size, 3] each; equal arguments give equal drawings.

    Every second drawing is noisy: without noise a drawing is gray, and two exchanged channels would go unseen.
    """
    configs = [DrawingConfig(noisy=1 - i % 2) for i in range(count)]
    return [draw(np.random.default_rng([_SEED, size, i]), size, config).image for i, config in enumerate(configs)]
