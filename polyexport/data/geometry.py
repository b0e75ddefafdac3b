"""Placement of outlines in an image, and the polylines that draw them with or without gaps."""

import numpy as np
from numpy.typing import NDArray

from polyexport.data.outlines import Points

__all__ = ["Cell", "broken", "cells", "distances_along", "joined", "placed"]

Cell = tuple[float, float, float, float]
"""A rectangle of the image: x, y, width, height in pixels."""

_LONGEST_GAP_PX = 14.0
"""No gap in an outline is longer, however long the outline is."""


def placed(points: Points, rng: np.random.Generator, cell: Cell, margin: float) -> Points:
    """Turn, stretch, scale and place an outline so that it keeps ``margin`` pixels from every edge of its cell."""
    if rng.random() < 0.7:
        angle = rng.uniform(0, 2 * np.pi)
        cos, sin = np.cos(angle), np.sin(angle)
        points = points @ np.array([[cos, -sin], [sin, cos]])
    if rng.random() < 0.3:
        points = points * rng.uniform(0.6, 1.0, 2)
    points = points - points.min(axis=0)
    room = np.array(cell[2:]) - 1 - 2 * margin
    points = points * ((room / points.max(axis=0)).min() * rng.uniform(0.28, 1.0))
    corner: Points = np.array(cell[:2]) + margin + rng.uniform(0, 1, 2) * (room - points.max(axis=0))
    return points + corner


def cells(rng: np.random.Generator, size: int, count: int) -> list[Cell]:
    """Divide a square image of ``size`` pixels into ``count`` cells, 1 to 4, that do not overlap."""
    if count == 1:
        return [(0.0, 0.0, float(size), float(size))]
    x, y = np.rint(rng.uniform(0.4, 0.6, 2) * size).tolist()
    if count == 2:
        halves = [(0.0, 0.0, x, float(size)), (x, 0.0, size - x, float(size))]
        return halves if rng.random() < 0.5 else [(top, left, height, width) for left, top, width, height in halves]
    quarters = [(0.0, 0.0, x, y), (x, 0.0, size - x, y), (0.0, y, x, size - y), (x, y, size - x, size - y)]
    return [quarters[i] for i in sorted(rng.permutation(4)[:count])]


def distances_along(points: Points) -> NDArray[np.float64]:
    """Return the distance of each vertex from the first one, along the line: [K], in the unit of the points."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])


def joined(points: Points) -> Points:
    """Close an outline as a polyline that runs one vertex past its start: Pillow rounds only corners inside a line."""
    return np.concatenate([points, points[:2]])


def broken(points: Points, rng: np.random.Generator, longest_gap: float, stroke_width: float) -> list[Points]:
    """Cut one to three gaps into an outline.

    Args:
        points: Vertices of the closed outline.
        rng: Source of randomness.
        longest_gap: Greatest length of a gap, as a fraction of the outline's length.
        stroke_width: Width of the stroke that will draw the outline, pixels.

    Returns:
        The polylines that are left of the outline.
    """
    closed = np.concatenate([points, points[:1]])
    along = distances_along(closed)
    perimeter = along[-1]
    # A stroke extends half its width beyond the ends of its polyline, which would close a gap as short as that.
    longest = min(longest_gap * perimeter, _LONGEST_GAP_PX + stroke_width)
    gaps: list[tuple[float, float]] = []
    first = rng.uniform(0, perimeter)
    for number in range(rng.integers(1, 4)):
        start = 0.0 if number == 0 else rng.uniform(0, perimeter)
        length = min(stroke_width + rng.uniform(1.0, max(longest, 1.5)), 0.25 * perimeter)
        gaps.append((start, start + length))
    # Positions count from the first gap on, so the drawn runs lie between one gap's end and the next one's start.
    twice = np.concatenate([along[:-1], along + perimeter])
    vertices = np.concatenate([points, closed])
    runs: list[Points] = []
    end = 0.0
    for start, stop in [*sorted(gaps), (perimeter, perimeter)]:
        if start > end:
            lo, hi = first + end, first + start
            between = vertices[(twice > lo) & (twice < hi)]
            tips = [np.interp([at], twice, vertices[:, axis]) for at in (lo, hi) for axis in (0, 1)]
            ends = np.concatenate(tips).reshape(2, 2)
            runs.append(np.concatenate([ends[:1], between, ends[1:]]))
        end = max(end, stop)
    return runs
