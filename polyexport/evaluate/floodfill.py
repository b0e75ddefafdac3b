"""The program that a network has to beat: everything that cannot be reached from outside gets the colour."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

__all__ = ["flood_fill"]

_INK_BELOW = 128


def flood_fill(image: NDArray[np.uint8], rgb: tuple[int, int, int]) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] outline drawing -> the outline and what it encloses in ``rgb``, on white.

    Ink is whatever is darker than middle grey; paper is connected along edges, not corners.
    """
    paper = Image.fromarray((image.mean(axis=-1) >= _INK_BELOW).astype(np.uint8))
    framed = ImageOps.expand(paper, border=1, fill=1)  # so that the outside is one region
    ImageDraw.floodfill(framed, (0, 0), 2)
    outside = np.asarray(framed)[1:-1, 1:-1] == 2
    return np.where(outside[..., None], np.uint8(255), np.array(rgb, dtype=np.uint8))
