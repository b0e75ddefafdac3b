"""Level of the paper under a drawing: uneven light and the paper's tone, estimated on a coarse grid."""

from functools import reduce

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polyexport.imaging.pixels import Pixels
from polyexport.imaging.planes import blurred, channel_means, enlarged, largest, smallest

__all__ = ["flattened"]

_CELLS = 64
"""Cells of the grid along the picture's longer side."""

_SAMPLES = 4
"""Samples of a cell along each side, each the mean of its pixels; the cell's paper is the lightest of them."""

_REACH = 9
"""Widest stroke that is not taken for paper, cells: a seventh of the longer side."""


def flattened(pixels: Pixels) -> NDArray[np.uint8]:
    """Return the picture in gray, as if its paper were evenly white.

    The channels are weighted by how much the ink darkens each, so that colored ink keeps its contrast.

    Args:
        pixels: uint8 [H, W, 3].

    Returns:
        uint8 [H, W]: 255 is the paper's local level or lighter, 0 is black.
    """
    height, width = pixels.shape[:2]
    cells = [max(1, min(round(_CELLS * side / max(height, width)), side // _SAMPLES)) for side in (height, width)]
    rows, columns = (min(side, _SAMPLES * count) for side, count in zip((height, width), cells, strict=True))
    picture = Image.fromarray(pixels)
    samples = np.asarray(picture.resize((columns, rows), Image.Resampling.BOX))
    grid = _lightest(_lightest(samples).transpose(1, 0, 2)).transpose(1, 0, 2)
    # Closing: dark strokes vanish, and slopes of light keep their level.
    levels = smallest(largest(grid, _REACH // 2), _REACH // 2).astype(np.float32)
    for _ in range(2):
        levels = blurred(levels, 1)
    drops = np.maximum(levels.mean((0, 1)) - channel_means(samples), 0.25)
    weights = drops / drops.sum()
    red, green, blue = weights.astype(np.float32)
    # Not a matrix product, whose order of sums depends on the processor.
    paper = levels[..., 0] * red + levels[..., 1] * green + levels[..., 2] * blue
    gain = (255 / np.maximum(paper, 1)).astype(np.float32)
    gains = enlarged(gain, (height, width))
    gray = np.asarray(picture.convert("L", (*map(float, weights), 0.0)))
    even: NDArray[np.uint8] = np.minimum(gray * gains + np.float32(0.5), 255).astype(np.uint8)
    return even


def _lightest(samples: Pixels) -> Pixels:
    """Return the largest of every ``_SAMPLES`` rows, of all of them if they are fewer: [H, W, 3] -> [h, W, 3]."""
    rows: list[Pixels] = [samples[first::_SAMPLES] for first in range(min(len(samples), _SAMPLES))]
    return reduce(np.maximum, rows)
