"""Strokes of a sketch, and what moves and bends them."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polyexport.data.geometry import distances_along
from polyexport.data.outlines import Points

__all__ = ["Stroke", "as_stroke", "bent", "boxed", "densified", "moved", "normals", "smooth_noise"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stroke:
    """One stroke of the pen, or one contour of a solid part."""

    points: Points
    """[K, 2] x, y; of a closed stroke without a repeated last vertex."""

    closed: bool = True
    """Whether the last point is joined to the first one."""

    solid: int = 0
    """0: a line. 1: a contour whose inside is ink. -1: a contour whose inside is a hole in the ink."""


def smooth_noise(rng: np.random.Generator, size: int, cells: int) -> NDArray[np.float32]:
    """Return smooth noise with about ``cells`` hills along each side: float32 [size, size], roughly in [-1, 1]."""
    coarse = Image.fromarray(rng.uniform(-1, 1, (cells + 3, cells + 3)).astype(np.float32))
    step = size / cells
    fine = coarse.resize((round((cells + 3) * step),) * 2, Image.Resampling.BICUBIC)
    first = round(1.5 * step)
    noise: NDArray[np.float32] = np.asarray(fine)[first : first + size, first : first + size]
    return noise


def boxed(strokes: list[Stroke]) -> list[Stroke]:
    """Move and scale strokes so that they are centered at 0 and their longer side is 1."""
    everything = np.concatenate([stroke.points for stroke in strokes])
    low, high = everything.min(axis=0), everything.max(axis=0)
    extent = max(float((high - low).max()), 1e-9)
    return [replace(stroke, points=(stroke.points - (low + high) / 2) / extent) for stroke in strokes]


def moved(strokes: list[Stroke], matrix: NDArray[np.float64], offset: NDArray[np.float64]) -> list[Stroke]:
    """Apply a linear map [2, 2] and add an offset [2]; mirrored contours keep their meaning."""
    return [replace(stroke, points=stroke.points @ matrix.T + offset) for stroke in strokes]


def densified(points: Points, closed: bool, step: float) -> Points:
    """Insert vertices so that no two neighbors are farther apart than ``step``; a closed line is not repeated."""
    ring = np.concatenate([points, points[:1]]) if closed else points
    if len(ring) < 2:
        return points
    along = distances_along(ring)
    lengths = np.diff(along)
    pieces = np.maximum(1, np.ceil(lengths / step)).astype(int)
    starts = np.repeat(np.arange(len(pieces)), pieces)
    within = np.arange(len(starts)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    at = along[starts] + lengths[starts] * within / pieces[starts]
    if not closed:
        at = np.append(at, along[-1])
    return np.stack([np.interp(at, along, ring[:, axis]) for axis in (0, 1)], axis=1)


def normals(points: Points) -> Points:
    """Return the direction square to a line at each of its vertices: [K, 2], of length 1, or 0 at equal vertices."""
    along = np.gradient(points, axis=0) if len(points) > 2 else np.repeat(np.diff(points, axis=0), 2, axis=0)
    square = np.stack([-along[:, 1], along[:, 0]], axis=1)
    unit: Points = square / np.maximum(np.linalg.norm(along, axis=1), 1e-9)[:, None]
    return unit


def bent(strokes: list[Stroke], rng: np.random.Generator, amount: float, scale: float) -> list[Stroke]:
    """Displace strokes by smooth noise over the plane, so that lines that meet still meet.

    Args:
        strokes: Strokes whose neighboring vertices are close to each other.
        rng: Source of randomness.
        amount: Largest displacement, in the unit of the points.
        scale: Distance over which the displacement changes, in the unit of the points.
    """
    waves = rng.normal(0, 1 / scale, (6, 2))
    phases = rng.uniform(0, 2 * np.pi, (6, 2))
    weights = rng.uniform(-1, 1, (6, 2)) * amount / 2
    return [
        replace(
            stroke,
            points=stroke.points
            + (np.sin((stroke.points @ waves.T)[:, :, None] + phases) * weights).sum(axis=1),  # [K, waves, 2]
        )
        for stroke in strokes
    ]


def as_stroke(points: Points, closed: bool, solid: int = 0) -> list[Stroke]:
    """Make a stroke without repeated vertices, closed if it returns to its start; none of a single point."""
    if len(points) < 2:
        return []
    extent = max(float(np.ptp(points, axis=0).max()), 1e-9)
    kept = np.concatenate([[True], np.linalg.norm(np.diff(points, axis=0), axis=1) > 1e-6 * extent])
    points = points[kept]
    if len(points) > 2 and np.linalg.norm(points[0] - points[-1]) < 1e-3 * extent:
        points, closed = points[:-1], True
    return [Stroke(points=points, closed=closed and len(points) > 2, solid=solid)] if len(points) > 1 else []
