"""Largest and smallest value around every pixel of a plane; the plane's edge has no neighbors beyond it."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["SIDES", "beside", "largest", "smallest"]

SIDES = (
    (np.s_[1:], np.s_[:-1]),
    (np.s_[:-1], np.s_[1:]),
    (np.s_[:, 1:], np.s_[:, :-1]),
    (np.s_[:, :-1], np.s_[:, 1:]),
)
"""Pairs of slices: pixels, and the ones above, below, left and right of them."""


def beside(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the largest value among each pixel and the four that share a side with it, uint8 [H, W]."""
    found = plane.copy()
    for here, there in SIDES:
        np.maximum(found[here], plane[there], out=found[here])
    return found


def largest(plane: NDArray[np.uint8], radius: int) -> NDArray[np.uint8]:
    """Return the largest value in the square of side ``2 * radius + 1`` around each pixel, uint8 [H, W]."""
    return _square(plane, radius, np.maximum)


def smallest(plane: NDArray[np.uint8], radius: int) -> NDArray[np.uint8]:
    """Return the smallest value in the square of side ``2 * radius + 1`` around each pixel, uint8 [H, W]."""
    return _square(plane, radius, np.minimum)


def _square(plane: NDArray[np.uint8], radius: int, pick: np.ufunc) -> NDArray[np.uint8]:
    for _ in range(radius):
        rows = plane.copy()
        pick(rows[1:], plane[:-1], out=rows[1:])
        pick(rows[:-1], plane[1:], out=rows[:-1])
        plane = rows.copy()
        pick(plane[:, 1:], rows[:, :-1], out=plane[:, 1:])
        pick(plane[:, :-1], rows[:, 1:], out=plane[:, :-1])
    return plane
