"""Flood fill, as a baseline: every pixel that cannot be reached from outside gets the color."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["flood_fill"]

_INK_BELOW = 128  # mean level of the channels, of 255


def flood_fill(image: NDArray[np.uint8], rgb: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Fill an outline drawing, uint8 [H, W, 3]: the outline and what it encloses get the color, the rest is white.

    Ink is whatever is darker than middle gray; paper is connected along edges, not corners.
    """
    paper = np.pad(image.mean(axis=-1) >= _INK_BELOW, 1, constant_values=True)  # framed: the outside is one region
    regions, _ = ndimage.label(paper)
    outside = (regions == regions[0, 0])[1:-1, 1:-1]
    return np.where(outside[..., None], np.uint8(255), np.array(rgb, dtype=np.uint8))
