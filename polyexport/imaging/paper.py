"""Level of the paper under a drawing: uneven light and the paper's tone, estimated on a coarse grid."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from polyexport.imaging.pixels import Pixels

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
    grid = np.maximum.reduceat(samples, np.arange(0, rows, _SAMPLES), axis=0)
    grid = np.maximum.reduceat(grid, np.arange(0, columns, _SAMPLES), axis=1)
    # Closing: dark strokes vanish, and slopes of light keep their level.
    levels = ndimage.grey_closing(grid, (_REACH, _REACH, 1), mode="nearest").astype(np.float32)
    for _ in range(2):
        levels = ndimage.uniform_filter(levels, (3, 3, 1), mode="nearest")
    drops = np.maximum(levels.mean((0, 1)) - samples.mean((0, 1)), 0.25)
    weights = drops / drops.sum()
    red, green, blue = weights.astype(np.float32)
    # Not a matrix product, whose order of sums depends on the processor.
    paper = levels[..., 0] * red + levels[..., 1] * green + levels[..., 2] * blue
    gain = (255 / np.maximum(paper, 1)).astype(np.float32)
    gains = np.asarray(Image.fromarray(gain).resize((width, height), Image.Resampling.BILINEAR))
    gray = np.asarray(picture.convert("L", (*map(float, weights), 0.0)))
    even: NDArray[np.uint8] = np.minimum(gray * gains + np.float32(0.5), 255).astype(np.uint8)
    return even
