"""The regions of paper between the ink of a drawing, and what a coarse coverage of a fill says about each of them."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from polyexport.imaging.ink import WALL, Ink
from polyexport.imaging.planes import LabelRuns, enlarged, largest, looked_up, parts_of, sampled

__all__ = ["CLEAR", "MIN_PATCH", "Regions", "Votes", "find_regions", "painted"]

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

MIN_PATCH = 3.0
"""Smallest part of a region that can be filled or left apart from the rest, cells of the coarse coverage."""

_TRACE = 0.02
"""Coverage by ink from which a cell can be doubted."""

CLEAR = 0.6
"""Share of a cell that ink leaves visible from which the cell takes part in a seam."""

_BELIEF = 0.25
"""Coverage within one cell from which ink is part of the drawing."""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Votes:
    """Votes of a coarse coverage on each region; arrays of regions have ``count + 1`` entries, entry 0 is ink."""

    regions: Regions
    cells: NDArray[np.int32]
    """Label of each cell of the grid for the votes, int32 [h', w']."""

    inside: Floats
    """Part of each cell that the fill covers beside the ink, float32 [h', w']."""

    visible: Floats
    """Part of each cell that ink leaves visible, float32 [h', w']."""

    coarse: Floats
    coarse_ink: Floats
    """Coverage of fill and ink, float32 [h', w']."""

    scale: float
    """Cells of the grid for one of the coarse coverage, along a side."""

    share: NDArray[np.float64]
    """Share of each region's votes that are for the fill."""

    filled: NDArray[np.bool_]
    seams: NDArray[np.bool_]
    """Regions that hold both."""

    voted: NDArray[np.bool_]
    """Regions that are large enough for a vote."""

    @classmethod
    def of(cls, regions: Regions, coarse: Floats, coarse_ink: Floats, *, finer: int = 2) -> "Votes":
        """Let a coarse coverage vote.

        Args:
            regions: the regions of the full picture, [H, W].
            coarse: coverage of the fill, float32 [h, w], 0 to 1, of the whole picture at a size up to its own.
            coarse_ink: coverage of the ink at the same size.
            finer: rows and columns of the grid of the votes for each of the coarse coverage, up to the picture's own.
        """
        height, width = regions.ink.coverage.shape
        grid = (min(height, finer * coarse.shape[0]), min(width, finer * coarse.shape[1]))
        cells = sampled(regions.labels, grid)
        visible = 1 - coarse_ink
        inside = np.clip(coarse - coarse_ink, 0, visible)
        inside, visible = enlarged(inside, grid), enlarged(visible, grid)
        scale = grid[0] / coarse.shape[0]
        runs = LabelRuns.of(cells, regions.count + 1)
        weight, votes = runs.sums(visible), runs.sums(inside)
        is_open = regions.open > 0
        share = votes / np.maximum(weight, 1e-6)
        filled = np.where(is_open, share >= 0.5, share >= _CLOSED_VOTE)
        voted = weight >= _MIN_WEIGHT
        filled |= ~voted & ~is_open
        # Cells that ink hides have no say about a seam.
        says, yes = visible > CLEAR, inside > np.float32(0.5) * visible
        said = runs.counts(says & yes)
        seams = is_open & (np.minimum(said, runs.counts(says) - said) >= MIN_PATCH * scale**2)
        filled[0] = seams[0] = voted[0] = False
        edge = regions.open[1:]
        if edge.any() and filled[1:][edge > 0].all() and not seams.any():
            widest = 1 + int(edge.argmax())
            if 2 * regions.open[widest] > regions.open.sum():
                filled[widest] = False  # the whole page would be filled
        return cls(
            regions=regions,
            cells=cells,
            inside=inside,
            visible=visible,
            coarse=enlarged(coarse, grid),
            coarse_ink=enlarged(coarse_ink, grid),
            scale=scale,
            share=share,
            filled=filled,
            seams=seams,
            voted=voted,
        )

    def with_surrounded(self) -> NDArray[np.bool_]:
        """Return which regions are filled, with those that the drawing's ink surrounds."""
        empty = self.voted & ~self.filled & (self.regions.open == 0)
        if not empty.any():
            return self.filled
        full = (self.coarse >= _FULL).view(np.uint8)
        surrounded = _surrounded(self.cells, largest(full, round(self.scale)), self.regions.count)
        filled: NDArray[np.bool_] = self.filled | (empty & surrounded)
        return filled

    def ink_and_belief(self, values: Plane) -> tuple[NDArray[np.bool_], Plane]:
        """Return which cells hold ink, bool [h', w'], and 1 for those beside a part of the fill, uint8 [h', w'].

        Args:
            values: coverage of each cell by what is filled, uint8 [h', w'].
        """
        near = ((self.coarse >= _BELIEF) | (values > 127)).view(np.uint8)
        return (self.coarse_ink > _TRACE) | (self.cells == 0), largest(near, round(self.scale))


def painted(values: NDArray[_Value], labels: NDArray[np.int32]) -> NDArray[_Value]:
    """Return the value of the label of each pixel: [count + 1], int32 [H, W] -> [H, W]."""
    if len(values) > 256:
        return values[labels]
    table = np.zeros(256, np.uint8)
    table[: len(values)] = values.view(np.uint8)
    return looked_up(labels.astype(np.uint8), table).view(values.dtype)


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
