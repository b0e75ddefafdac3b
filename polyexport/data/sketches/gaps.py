"""Gaps in the outlines of a sketch: where its ink is missing although the shape goes on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyexport.data.geometry import distances_along
from polyexport.data.outlines import Points
from polyexport.data.sketch_config import SketchConfig
from polyexport.data.sketches.raster import Grid
from polyexport.data.sketches.strokes import Stroke, normals

__all__ = ["Erasures", "gaps_in"]

_LARGEST_SHARE = {"cut": 0.25, "bitten": 0.25, "large": 0.2, "dashes": 0.55}
"""Largest part of an outline's length that gaps of each kind may take together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Erasures:
    """Parts of the ink that are erased, in pixels of the result; see ``polyexport.data.sketches.raster.erased``."""

    lines: list[tuple[Points, float]]
    """Polylines along which ink is removed, with the width of what is removed."""

    bites: list[tuple[Points, float]]
    """Centers and radii of round erasures."""


def gaps_in(
    rng: np.random.Generator,
    config: SketchConfig,
    grid: Grid,
    strokes: list[Stroke],
    widths: list[float],
    outside: NDArray[np.bool_],
) -> Erasures:
    """Choose gaps at places where a line separates the outside from something else.

    Solid parts have none: what cuts a line leaves only a notch in ink that is thicker.

    Args:
        rng: Source of randomness.
        config: Relative frequencies of the kinds of gaps.
        grid: What the sketch is rendered on.
        strokes: The strokes, with vertices close to each other, pixels of the result.
        widths: Largest width of each stroke, pixels of the result.
        outside: Where the paper outside of everything is, on the grid.
    """
    lines: list[tuple[Points, float]] = []
    bites: list[tuple[Points, float]] = []
    widths = [width for stroke, width in zip(strokes, widths, strict=True) if not stroke.solid]
    strokes = [stroke for stroke in strokes if not stroke.solid]
    borders = [_beside_outside(stroke, width, grid, outside) for stroke, width in zip(strokes, widths, strict=True)]
    lengths = [float(border.sum()) * _step(stroke) for border, stroke in zip(borders, strokes, strict=True)]
    total = sum(lengths)
    if total < 8:
        return Erasures(lines=[], bites=[])
    frequencies = np.array([config.cut_gaps, config.bitten_gaps, config.large_gaps, config.dashes])
    kind = ("cut", "bitten", "large", "dashes")[int(rng.choice(4, p=frequencies / frequencies.sum()))]
    if kind == "dashes" and rng.random() < 0.4:
        return Erasures(lines=_regular_dashes(rng, grid, strokes, widths, borders), bites=[])
    count, shortest, longest = {
        "cut": (int(rng.integers(1, 5)), 0.01, 0.06),
        "bitten": (int(rng.integers(1, 5)), 0.015, 0.07),
        "large": (1, 0.06, 0.16),
        "dashes": (int(rng.integers(8, 40)), 0.012, 0.05),
    }[kind]
    share = _LARGEST_SHARE[kind]
    odds = np.array(lengths) / total
    for _ in range(count):
        number = int(rng.choice(len(strokes), p=odds))
        stroke, width = strokes[number], widths[number]
        at = int(rng.choice(np.flatnonzero(borders[number])))
        length = max(1.5, min(float(rng.uniform(shortest, longest)) * grid.size, share * total / count))
        if kind == "bitten":
            offset = rng.normal(0, 0.15 * width, 2)
            bites.append((stroke.points[at] + offset, max(length / 2, 0.65 * width)))
        else:
            lines.append((_part(stroke, at, length), width * float(rng.uniform(1.3, 1.8)) + 2 / grid.scale))
    return Erasures(lines=lines, bites=bites)


def _step(stroke: Stroke) -> float:
    """Return the usual distance between neighboring vertices."""
    return float(np.median(np.linalg.norm(np.diff(stroke.points, axis=0), axis=1)))


def _beside_outside(stroke: Stroke, width: float, grid: Grid, outside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return at which vertices exactly one side of the line is outside, and the vertex is on the page: bool [K]."""
    points = stroke.points
    reach = (width / 2 + 1.5 / grid.scale + 0.5) * normals(points)
    sides = []
    for probe in (points + reach, points - reach):
        columns, rows = np.rint(grid.positions(probe)).astype(int).clip(0, grid.side - 1).T
        sides.append(outside[rows, columns])
    near = 0.02 * grid.size
    on_page = ((points > near) & (points < grid.size - near)).all(axis=1)
    between: NDArray[np.bool_] = (sides[0] ^ sides[1]) & on_page
    return between


def _part(stroke: Stroke, at: int, length: float) -> Points:
    """Return the part of a stroke around a vertex that is ``length`` long."""
    whole = np.concatenate([stroke.points, stroke.points[:1]]) if stroke.closed else stroke.points
    along = distances_along(whole)
    count = 2 + int(2 * length / max(_step(stroke), 1e-6))
    positions = along[at] + np.linspace(-length / 2, length / 2, count)
    if stroke.closed:
        positions %= along[-1]
    return np.stack([np.interp(positions, along, whole[:, axis]) for axis in (0, 1)], axis=1)


def _regular_dashes(
    rng: np.random.Generator,
    grid: Grid,
    strokes: list[Stroke],
    widths: list[float],
    borders: list[NDArray[np.bool_]],
) -> list[tuple[Points, float]]:
    """Erase at even distances along every line that borders the outside; wide lines have longer dashes and gaps."""
    dash, gap = rng.uniform(0.015, 0.06) * grid.size, rng.uniform(0.01, 0.05) * grid.size
    per_width = rng.uniform(0, 1.5)
    lines = []
    for stroke, width, border in zip(strokes, widths, borders, strict=True):
        if not border.any():
            continue
        along = distances_along(stroke.points)
        erased = gap + per_width * width
        period = dash + width + erased
        for at in np.searchsorted(along, np.arange(rng.uniform(0, 1) * period, along[-1], period)):
            if border[at]:
                lines.append((_part(stroke, int(at), erased), width * 1.5 + 2 / grid.scale))  # noqa: PERF401 - two loops
    return lines
