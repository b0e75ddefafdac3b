"""Exact edges for a fill: a coarse coverage decides what is filled, the ink of the full picture places the edge.

Paper that is not ink falls into regions. The coarse coverage votes on each region; the page's edge closes the shapes
that it cuts. A region that reaches the page's edge and has both votes holds a shape whose outline has gaps: there the
coarse coverage itself draws the seam. Ink takes the color, and where it borders on paper that stays white, it takes as
much of it as the ink covers.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polyexport.imaging.ink import WALL, Ink
from polyexport.imaging.planes import (
    LabelRuns,
    beside,
    blurred,
    counted_beside,
    enlarged,
    largest,
    looked_up,
    parts_of,
    smallest,
)

__all__ = ["Regions", "fill_coverage", "find_regions"]

_Value = TypeVar("_Value", np.uint8, np.bool_)

Plane = NDArray[np.uint8]
Floats = NDArray[np.float32]

_CLOSED_VOTE = 0.35
"""Share of votes from which a region that ink encloses is filled: what is enclosed usually is."""

_FULL = 0.5
"""Coverage of the fill from which the ink around an enclosed region is part of the drawing."""

_AROUND = 0.9
"""Share of the ink around an enclosed region that is part of the drawing, from which the region is filled."""

_MIN_WEIGHT = 0.5
"""Visible cells of the grid for the votes, which has up to twice as many rows and columns as the coarse coverage, from
which a region has a vote; what is smaller is filled if ink encloses it."""

_NEAR_INK = 0.05
"""Weight of a cell's neighbors in its vote; it matters where ink hides the cell itself."""

_MIN_PATCH = 3.0
"""Smallest part of a region that can be filled or left apart from the rest, cells of the coarse coverage."""

_THIN = 1.25
"""A part whose area is less than its open seam times this is a rim of the coarse picture, cells."""

_OPEN = 0.8
"""A filled part is a mistake when more than this share of its outline is seam, not ink; dashes leave less open."""

_POCKET = 0.5
"""An empty part that the page's edge does not touch is a mistake when its area is under this times the square of its
seam: paper is empty where it is connected to the page's edge, if only through a narrow passage."""

_LITTLE = 0.1
"""An empty part that the page's edge touches can be such a mistake when it is smaller than this share of all that is
filled: the paper around a drawing is larger."""

_STRAY = 0.15
"""Connected ink is part of the drawing as a whole when the network leaves out at most this share of it."""

_TRACE = 0.02
"""Coverage by ink from which a cell can be doubted."""

_CLEAR = 0.6
"""Share of a cell that ink leaves visible from which the cell takes part in a seam."""

_BELIEF = 0.25
"""Coverage within one cell from which ink is part of the drawing."""

_WHOLE_PAGE = 0.98
"""Part of the page above which a fill is no drawing's, but that of a frame, a texture or a photo: it stays paper."""

_SIDES = (
    (np.s_[1:], np.s_[:-1]),
    (np.s_[:-1], np.s_[1:]),
    (np.s_[:, 1:], np.s_[:, :-1]),
    (np.s_[:, :-1], np.s_[:, 1:]),
)
"""Pairs of slices: cells, and the ones above, below, left and right of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Regions:
    """The regions of paper between the ink of one picture."""

    ink: Ink
    labels: NDArray[np.int32]
    """int32 [H, W]: 0 for ink, 1 to ``count`` for the regions of paper, connected through their sides."""

    count: int
    open: NDArray[np.int64]
    """int64 [count + 1]: pixels of each region on the page's edge."""


def find_regions(ink: Ink) -> Regions:
    """Find the regions of paper between the ink of a picture."""
    labels, count = parts_of(ink.coverage < WALL)
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return Regions(ink=ink, labels=labels, count=count, open=np.bincount(edge, minlength=count + 1))


def fill_coverage(regions: Regions, coarse: Floats, coarse_ink: Floats) -> Plane:
    """Compute the exact coverage of a fill.

    Args:
        regions: the regions of the full picture, [H, W].
        coarse: coverage of the fill, float32 [h, w], 0 to 1, of the whole picture at a size up to its own.
        coarse_ink: coverage of the ink at the same size.

    Returns:
        uint8 [H, W]: 0 is paper, 255 is the full color; all 0 if almost the whole page would be filled.
    """
    ink = regions.ink
    height, width = ink.coverage.shape
    grid = (min(height, 2 * coarse.shape[0]), min(width, 2 * coarse.shape[1]))
    scaled = grid != (height, width)
    cells = _sampled(regions.labels, grid)
    visible = 1 - coarse_ink
    inside = np.clip(coarse - coarse_ink, 0, visible)
    inside, visible = enlarged(inside, grid), enlarged(visible, grid)
    believed = enlarged(coarse, grid)
    scale = grid[0] / coarse.shape[0]  # cells of the grid for one of the coarse coverage
    filled, seams, voted = _decide(regions, cells, inside, visible, scale * scale)
    empty = voted & ~filled & (regions.open == 0)
    if empty.any():
        full = (believed >= _FULL).view(np.uint8)
        filled |= empty & _surrounded(cells, largest(full, round(scale)), regions.count)
    values = np.where(filled, np.uint8(255), np.uint8(0))
    values[0] = 255
    plane = _painted(values, regions.labels)
    cell_values = _painted(np.where(voted, values, np.uint8(0)), cells)
    if seams.any():
        mixed = _painted(seams, cells)
        share = _seam(mixed, inside, visible, scale)
        factor = max(1.5, height / coarse.shape[0])
        fine = enlarged((share - np.float32(0.5)) * np.float32(255 * factor), (height, width))
        sharp = np.clip(fine + np.float32(128), 0, 255).astype(np.uint8)
        np.copyto(plane, sharp, where=_painted(seams, regions.labels))
        np.copyto(cell_values, (share > 0.5).view(np.uint8) * np.uint8(255), where=mixed)
    result = _edged(plane, ink)
    doubted = _doubted(cell_values, cells, believed, enlarged(coarse_ink, grid), round(scale))
    if doubted is not None:
        whole = Image.fromarray(doubted).resize((width, height), Image.Resampling.NEAREST) if scaled else doubted
        result[np.asarray(whole) > 0] = 0
    if np.count_nonzero(result > 127) > _WHOLE_PAGE * result.size:
        result[:] = 0
    return result


def _sampled(plane: NDArray[np.int32], size: tuple[int, int]) -> NDArray[np.int32]:
    """Return the pixels in the middle of the cells of a grid."""
    if plane.shape == size:
        return plane
    rows, columns = ((2 * np.arange(n) + 1) * side // (2 * n) for n, side in zip(size, plane.shape, strict=True))
    cells: NDArray[np.int32] = plane.take(rows, axis=0).take(columns, axis=1)
    return cells


def _painted(values: NDArray[_Value], labels: NDArray[np.int32]) -> NDArray[_Value]:
    """Return the value of the label of each pixel: [count + 1], int32 [H, W] -> [H, W]."""
    if len(values) > 256:
        return values[labels]
    table = np.zeros(256, np.uint8)
    table[: len(values)] = values.view(np.uint8)
    return looked_up(labels.astype(np.uint8), table).view(values.dtype)


def _decide(
    regions: Regions, cells: NDArray[np.int32], inside: Floats, visible: Floats, cell_area: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which regions are filled, which have a seam in them, and which are large enough for a vote.

    Each is bool [count + 1]; entry 0 is ink.
    """
    runs = LabelRuns.of(cells, regions.count + 1)
    weight, votes = runs.sums(visible), runs.sums(inside)
    is_open = regions.open > 0
    share = votes / np.maximum(weight, 1e-6)
    filled = np.where(is_open, share >= 0.5, share >= _CLOSED_VOTE)
    voted = weight >= _MIN_WEIGHT
    filled |= ~voted & ~is_open
    # Cells that ink hides have no say about a seam.
    says, yes = visible > _CLEAR, inside > np.float32(0.5) * visible
    said = runs.counts(says & yes)
    seams = is_open & (np.minimum(said, runs.counts(says) - said) >= _MIN_PATCH * cell_area)
    filled[0] = seams[0] = voted[0] = False
    edge = regions.open[1:]
    if edge.any() and filled[1:][edge > 0].all() and not seams.any():
        widest = 1 + int(edge.argmax())
        if 2 * regions.open[widest] > regions.open.sum():
            filled[widest] = False  # the whole page would be filled
    return filled, seams, voted


def _surrounded(cells: NDArray[np.int32], full: Plane, count: int) -> NDArray[np.bool_]:
    """Return which regions the drawing's ink surrounds, bool [count + 1].

    Args:
        cells: label of each cell.
        full: 1 where the fill or the drawing's ink is, up to one cell of the coarse coverage away, else 0.
        count: number of regions.
    """
    outline, drawn = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
    for here, there in _SIDES:
        rim = (cells[here] != cells[there]) & (cells[here] > 0)
        labels = cells[here][rim]
        outline += np.bincount(labels, minlength=count + 1)
        drawn += np.bincount(labels[full[here][rim] > 0], minlength=count + 1)
    return drawn >= _AROUND * np.maximum(outline, 1)


def _seam(mixed: NDArray[np.bool_], inside: Floats, visible: Floats, scale: float) -> Floats:
    """Return the share of the fill in the regions that hold both, without the parts that can only be mistakes.

    The share is exactly 0 or 1 but for a band of one cell of the coarse coverage around the seam.
    """
    radius = round(scale)
    near_inside, near_visible = (blurred(plane, radius) for plane in (inside, visible))
    share = (inside + _NEAR_INK * near_inside) / (visible + _NEAR_INK * near_visible + np.float32(1e-6))
    share = share.astype(np.float32)
    paper = mixed & (visible > _CLEAR)
    for value in (True, False):
        mine = paper & ((share > 0.5) == value)
        parts, wrong = _mistakes(mine, paper, scale, value=value)
        if wrong.any():
            patch = (largest(wrong[parts].view(np.uint8), radius) > 0) & ~(mine & ~wrong[parts])
            share = np.where(patch, np.float32(not value), share)
    filled = (share > 0.5).view(np.uint8)
    band = largest(filled, radius) != smallest(filled, radius)
    return np.where(band, share, filled.astype(np.float32))


def _mistakes(
    mine: NDArray[np.bool_], paper: NDArray[np.bool_], scale: float, *, value: bool
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Label the parts of a region that are filled, or those that are not, and find those that can only be mistakes.

    Args:
        mine: cells of the parts, bool [h, w].
        paper: cells of the region.
        scale: cells for one of the coarse coverage.
        value: whether the parts are filled.

    Returns:
        The parts' labels, int32 [h, w], and for each label whether it is a mistake.
    """
    parts, count = parts_of(mine)
    area = LabelRuns.of(parts, count + 1).areas()
    open_sides, ink_sides = counted_beside(paper & ~mine), counted_beside(~paper)
    rim = np.flatnonzero(mine & ((open_sides | ink_sides) > 0))
    labels = parts.ravel()[rim]
    seam, inked = (np.bincount(labels, sides.ravel()[rim], count + 1) for sides in (open_sides, ink_sides))
    length, size = seam / scale, area / scale**2
    wrong = (size < _THIN * length) | (size < _MIN_PATCH)
    if value:
        wrong |= seam > _OPEN * (seam + inked)
    else:
        at_edge = np.zeros(count + 1, np.bool_)
        at_edge[np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])] = True
        bay = size < _POCKET * length**2
        filled = np.count_nonzero(paper) - np.count_nonzero(mine)
        wrong = np.where(at_edge, bay & (area < _LITTLE * filled), wrong | bay)
    wrong[0] = False
    return parts, wrong & (seam > 0)


def _edged(plane: Plane, ink: Ink) -> Plane:
    """Draw the exact edge of the ink towards paper that stays white.

    Args:
        plane: coverage of the regions of paper, and 255 under ink, uint8 [H, W].
        ink: the ink.

    Returns:
        uint8 [H, W].
    """
    is_ink = ink.coverage >= WALL
    result = np.maximum(plane, ink.coverage)
    clear = WALL - np.minimum(ink.coverage, WALL)  # 0 for ink
    away, toward = _clearest(np.minimum(clear, ~plane)), _clearest(np.minimum(clear, plane))
    rim = np.flatnonzero(is_ink & (away > 0))
    # What ink leaves open of a pixel is shared by the squares of how clear the paper of both sides is: nearly all of it
    # belongs to the clearer side, as the ink goes on into the other one.
    outside, inside = (side.ravel()[rim].astype(np.float32) ** 2 for side in (away, toward))
    covered = ink.coverage.ravel()[rim].astype(np.float32)
    values = covered + (255 - covered) * (inside / (inside + outside))
    result.ravel()[rim] = np.floor(values + np.float32(0.5)).astype(np.uint8)
    return result


def _clearest(plane: Plane) -> Plane:
    """Return the largest value beside each pixel; one at a corner counts an eighth, and at least 1."""
    corners = largest(plane, 1)
    clearest: Plane = np.maximum(beside(plane), (corners >> 3) | (corners > 0))
    return clearest


def _doubted(values: Plane, cells: NDArray[np.int32], coarse: Floats, coarse_ink: Floats, radius: int) -> Plane | None:
    """Return the cells whose ink is no part of the drawing, uint8 [h, w] of 0 and 1; None if there are none."""
    believed = largest(((coarse >= _BELIEF) | (values > 127)).view(np.uint8), radius)
    inked = (coarse_ink > _TRACE) | (cells == 0)
    doubted = inked & (believed == 0)
    if not doubted.any():
        return None
    parts, count = parts_of(inked)
    places = np.flatnonzero(doubted)
    labels = parts.ravel()[places]
    left_out = np.bincount(labels, minlength=count + 1) > _STRAY * LabelRuns.of(parts, count + 1).areas()
    doubted.ravel()[places] = left_out[labels]
    if not doubted.any():
        return None
    return largest(doubted.view(np.uint8), radius) & (1 - believed)
