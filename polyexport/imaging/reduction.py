"""A drawing scaled down to the network's size without losing its thin lines.

A line one pixel wide fades to a sixteenth of its contrast when a picture is averaged down sixteen times. Where a block
of pixels holds ink but no stroke that is wide enough to survive, the block's darkest pixel stands for it.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polyexport.imaging.ink import WALL, Ink
from polyexport.imaging.planes import (
    averaged,
    gray_plane,
    largest,
    largest_of_blocks,
    largest_of_cells,
    smallest_of_blocks,
    smallest_of_cells,
)

__all__ = ["reduced", "sketched"]

_KEPT = 1.5
"""The darkest pixel stands for blocks whose side is the scale divided by this; the rest of the scale is averaged."""

_SOLID = 204
"""Mean coverage of a block of a stroke that survives averaging: 80 %."""


def reduced(pixels: NDArray[np.uint8], size: tuple[int, int], ink: Ink | None) -> NDArray[np.uint8]:
    """Scale a picture down.

    Args:
        pixels: uint8 [H, W] or [H, W, 3], dark lines on light paper.
        size: height and width of the result, each at most that of the picture.
        ink: the picture's ink; None if it has none.

    Returns:
        uint8 [h, w] or [h, w, 3].
    """
    gray = gray_plane(pixels) if pixels.ndim == 3 else None
    if gray is not None:  # as most drawings are: a third of the work, and the same result
        return np.repeat(reduced(gray, size, ink)[..., None], pixels.shape[2], axis=2)
    height, width = pixels.shape[:2]
    scale = min(height / size[0], width / size[1])
    side = int(scale / _KEPT)
    picture, box = Image.fromarray(pixels), (0.0, 0.0, float(width), float(height))
    if side > 1 and ink is not None:
        means = np.array(picture.reduce(side))
        thin = _thin_blocks(ink, side)
        if thin.any():
            means[thin] = smallest_of_blocks(pixels, side)[thin]
        picture, box = Image.fromarray(means), (0.0, 0.0, width / side, height / side)
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.LANCZOS, box=box))


def sketched(pixels: NDArray[np.uint8], size: tuple[int, int], ink: Ink) -> NDArray[np.uint8]:
    """Scale a picture down with all of its thin lines as dark and as wide as pixels of the result.

    A line of one pixel stays in sight at any scale, and closes gaps that are narrower than a pixel of the result.

    Args:
        pixels: uint8 [H, W] or [H, W, 3], dark lines on light paper.
        size: height and width of the result, each at most that of the picture.
        ink: the picture's ink.

    Returns:
        uint8 [h, w] or [h, w, 3].
    """
    gray = gray_plane(pixels) if pixels.ndim == 3 else None
    if gray is not None:
        return np.repeat(sketched(gray, size, ink)[..., None], pixels.shape[2], axis=2)
    solid = largest((averaged(ink.coverage, size) >= _SOLID).view(np.uint8), 1)
    thin = (largest_of_cells(ink.coverage, size) >= WALL) & (solid == 0)
    result = averaged(pixels, size)
    result[thin] = smallest_of_cells(pixels, size)[thin]
    return result


def _thin_blocks(ink: Ink, side: int) -> NDArray[np.bool_]:
    """Return the blocks that hold ink and have no solid block beside them, bool [rows, columns]."""
    means = np.asarray(Image.fromarray(ink.coverage).reduce(side))
    solid = largest((means >= _SOLID).view(np.uint8), 1)
    thin: NDArray[np.bool_] = (largest_of_blocks(ink.coverage, side) >= WALL) & (solid == 0)
    return thin
