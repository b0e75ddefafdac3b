"""The program that a network has to beat: everything that cannot be reached from outside gets the colour."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["flood_fill"]

_INK_BELOW = 128


def flood_fill(image: NDArray[np.uint8], rgb: tuple[int, int, int]) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] outline drawing -> the outline and what it encloses in ``rgb``, on white.

    Ink is whatever is darker than middle grey; paper is connected along edges, not corners.
    """
    paper = np.pad(image.mean(axis=-1) >= _INK_BELOW, 1, constant_values=True)  # framed: the outside is one region
    regions, _ = ndimage.label(paper)
    outside = (regions == regions[0, 0])[1:-1, 1:-1]
    return np.where(outside[..., None], np.uint8(255), np.array(rgb, dtype=np.uint8))
