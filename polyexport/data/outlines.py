"""Outlines of single shapes as polygons of any scale and position, random within the limits of each shape."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["OUTLINES", "Points"]

Points = NDArray[np.float64]
"""[K, 2] x, y vertices of a closed outline, without a repeated last vertex."""


def _polar(angles: NDArray[np.floating], radii: NDArray[np.floating] | float) -> Points:
    """Convert polar coordinates, angles in radians, to vertices."""
    return np.stack([np.cos(angles) * radii, np.sin(angles) * radii], axis=1).astype(np.float64)


def _regular(sides: int) -> Points:
    """Return a regular polygon that stands on an edge or, with an odd number of sides, points up (y grows down)."""
    turn = np.pi / sides if sides % 2 == 0 else 0.0
    return _polar(np.arange(sides) * (2 * np.pi / sides) - np.pi / 2 + turn, 1.0)


def _star(rng: np.random.Generator) -> Points:
    tips = int(rng.choice([5, 5, 5, 4, 6, 7, 8]))
    radii = np.tile([1.0, rng.uniform(0.3, 0.7)], tips)
    return _polar(np.arange(2 * tips) * (np.pi / tips) - np.pi / 2, radii)


def _diamond(rng: np.random.Generator) -> Points:
    return _polar(np.arange(4) * (np.pi / 2), 1.0) * [rng.uniform(0.5, 1.0), 1.0]


def _rectangle(rng: np.random.Generator) -> Points:
    height = 1.0 if rng.random() < 0.5 else rng.uniform(0.3, 1.0)
    return np.array([[-1.0, -height], [1.0, -height], [1.0, height], [-1.0, height]])


def _jittered_angles(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    step = 2 * np.pi / count
    angles: NDArray[np.float64] = np.arange(count) * step + rng.uniform(-0.35, 0.35, count) * step
    return angles


def _irregular(rng: np.random.Generator) -> Points:
    count = int(rng.integers(4, 10))
    return _polar(_jittered_angles(rng, count), rng.uniform(0.65, 1.0, count))


def _concave(rng: np.random.Generator) -> Points:
    count = int(rng.integers(5, 13))
    return _polar(_jittered_angles(rng, count), rng.uniform(0.25, 1.0, count))


def _rounded(rng: np.random.Generator) -> Points:
    """Return an angular outline with rounded corners (corner cutting of Chaikin, 1974)."""
    points = (_irregular, _concave, _rectangle, _star)[rng.integers(4)](rng)
    for _ in range(3):
        following = np.roll(points, -1, axis=0)
        points = np.stack([0.75 * points + 0.25 * following, 0.25 * points + 0.75 * following], axis=1).reshape(-1, 2)
    return points


def _blob(rng: np.random.Generator) -> Points:
    """Return a circle whose radius has a few random harmonics."""
    angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    radii = np.ones_like(angles)
    for harmonic in range(2, 6):
        radii += rng.uniform(0, 0.5 / harmonic) * np.cos(harmonic * angles + rng.uniform(0, 2 * np.pi))
    return _polar(angles, radii)


def _crescent(rng: np.random.Generator) -> Points:
    """Return a thick arc, like the letter C: its deep pocket lies outside."""
    reach = rng.uniform(0.55, 0.88) * np.pi
    angles = np.linspace(-reach, reach, 40)
    return np.concatenate([_polar(angles, 1.0), _polar(angles[::-1], rng.uniform(0.35, 0.75))])


def _ellipse(rng: np.random.Generator) -> Points:
    return _polar(np.linspace(0, 2 * np.pi, 72, endpoint=False), 1.0) * [1.0, rng.uniform(0.35, 0.85)]


def _notched(rng: np.random.Generator) -> Points:
    """Return a round outline with one or two deep notches toward its center, like a bean or a clover leaf."""
    angles = np.linspace(-np.pi, np.pi, 96, endpoint=False)
    radii = np.ones_like(angles)
    count = int(rng.integers(1, 3))
    for center in rng.uniform(-0.2, 0.2) + np.arange(count) * 2 * np.pi / count:
        away = np.abs((angles - center + np.pi) % (2 * np.pi) - np.pi) / rng.uniform(0.35, 0.8)
        radii -= rng.uniform(0.45, 0.8) * np.where(away < 1, 0.5 + 0.5 * np.cos(np.pi * np.minimum(away, 1)), 0)
    return _polar(angles, np.maximum(radii, 0.12))


def _slotted(rng: np.random.Generator) -> Points:
    """Return a block with one or two deep slots from one side, like the letters U and E."""
    slots = int(rng.integers(1, 3))
    edges = np.cumsum(rng.uniform(0.6, 1.4, 2 * slots + 1))  # leg, slot, leg, ...
    edges = np.concatenate([[0.0], edges]) / edges[-1]
    height = rng.uniform(0.6, 1.3)
    points = [(0.0, height), (0.0, 0.0)]
    for left, right in zip(edges[1:-1:2], edges[2:-1:2], strict=True):
        depth = rng.uniform(0.5, 0.85) * height
        points += [(left, 0.0), (left, depth), (right, depth), (right, 0.0)]
    return np.array([*points, (1.0, 0.0), (1.0, height)])


OUTLINES: dict[str, Callable[[np.random.Generator], Points]] = {
    "circle": lambda rng: _polar(np.linspace(0, 2 * np.pi, 72, endpoint=False), 1.0),
    "diamond": _diamond,
    "hexagon": lambda rng: _regular(6),
    "octagon": lambda rng: _regular(8),
    "pentagon": lambda rng: _regular(5),
    "square": _rectangle,
    "star": _star,
    "triangle": lambda rng: _regular(3),
    "irregular": _irregular,
    "concave": _concave,
    "rounded": _rounded,
    "blob": _blob,
    "ellipse": _ellipse,
    "crescent": _crescent,
    "notched": _notched,
    "slotted": _slotted,
}
"""The function that makes a random outline of each shape, under the names of ``polyexport.data.shapes.SHAPES``.

``polyexport.data.geometry.placed`` gives an outline its scale and its position in the image.
"""
