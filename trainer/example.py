"""One example of what a network is to do: a picture, a condition, and the picture to make of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyexport.data.drawings import Drawing

__all__ = ["Example", "example_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """Pixels and condition of one pair, to train on or to score on."""

    image: NDArray[np.uint8]
    """Picture that the network gets, [H, W, 3], RGB."""

    condition: tuple[int, int, int] | int | None
    """Color, sRGB from 0 to 255; or index of a label; or None for a network that gets nothing but the picture."""

    target: NDArray[np.uint8]
    """Picture that the network is to make, [H, W, 3], RGB."""


def example_of(drawing: Drawing) -> Example:
    """Return a generated drawing as an example of filling with its color."""
    return Example(image=drawing.image, condition=drawing.color, target=drawing.colored)
