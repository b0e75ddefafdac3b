"""Exact edges for a fill: a coarse coverage decides what is filled, the ink of the full picture places the edge.

Paper that is not ink falls into regions. The coarse coverage votes on each region; the page's edge closes the shapes
that it cuts. A region that reaches the page's edge and has both votes holds a shape whose outline has gaps: there the
coarse coverage itself draws the seam. Ink takes the color, and where it borders on paper that stays white, it takes as
much of it as the ink covers.

Where every region is certain, a far coarser coverage gives the same result: see ``settled_regions``.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polyexport.imaging.ink import WALL, Ink
from polyexport.imaging.planes import LabelRuns, beside, blurred, counted_beside, enlarged, largest, parts_of, smallest
from polyexport.imaging.votes import CLEAR, MIN_PATCH, Regions, Votes, painted

__all__ = ["can_be_settled", "fill_coverage", "settled_coverage", "settled_regions"]

Plane = NDArray[np.uint8]
Floats = NDArray[np.float32]

_NEAR_INK = 0.05
"""Weight of a cell's neighbors in its vote; it matters where ink hides the cell itself."""

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

_WHOLE_PAGE = 0.98
"""Part of the page above which a fill is no drawing's, but that of a frame, a texture or a photo: it stays paper."""

_UNANIMOUS = 0.1
"""A first look settles a region in which at most this share of the votes is against the others."""

_LEAST_ENCLOSED = 0.01
"""Part of the page that the largest region that ink encloses must have for a first look. Of 451 drawings that were
settled without this rule, two had less; of 545 that were not, 253."""

_SPECK = 2
"""Area up to which a region without a vote is settled, pixels of the full picture: it is filled at every size."""


def fill_coverage(regions: Regions, coarse: Floats, coarse_ink: Floats) -> Plane:
    """Compute the exact coverage of a fill.

    Args:
        regions: the regions of the full picture, [H, W].
        coarse: coverage of the fill, float32 [h, w], 0 to 1, of the whole picture at a size up to its own.
        coarse_ink: coverage of the ink at the same size.

    Returns:
        uint8 [H, W]: 0 is paper, 255 is the full color; all 0 if almost the whole page would be filled.
    """
    votes = Votes.of(regions, coarse, coarse_ink)
    filled = votes.with_surrounded()
    values = _values(filled)
    plane = painted(values, regions.labels)
    cell_values = painted(np.where(votes.voted, values, np.uint8(0)), votes.cells)
    height, width = regions.ink.coverage.shape
    if votes.seams.any():
        mixed = painted(votes.seams, votes.cells)
        share = _seam(mixed, votes.inside, votes.visible, votes.scale)
        factor = max(1.5, height / coarse.shape[0])
        fine = enlarged((share - np.float32(0.5)) * np.float32(255 * factor), (height, width))
        sharp = np.clip(fine + np.float32(128), 0, 255).astype(np.uint8)
        np.copyto(plane, sharp, where=painted(votes.seams, regions.labels))
        np.copyto(cell_values, (share > 0.5).view(np.uint8) * np.uint8(255), where=mixed)
    result = _edged(plane, regions.ink)
    doubted = _doubted(*votes.ink_and_belief(cell_values), round(votes.scale))
    if doubted is not None:
        scaled = votes.cells.shape != (height, width)
        whole = Image.fromarray(doubted).resize((width, height), Image.Resampling.NEAREST) if scaled else doubted
        result[np.asarray(whole) > 0] = 0
    return _unless_whole_page(result)


def can_be_settled(regions: Regions) -> bool:
    """Find out whether the ink encloses enough paper for a first look to settle anything; most gaps leave none."""
    enclosed = regions.open[1:] == 0
    if not enclosed.any():
        return False
    areas = LabelRuns.of(regions.labels, regions.count + 1).areas()[1:]
    return bool(areas[enclosed].max() >= _LEAST_ENCLOSED * regions.labels.size)


def settled_regions(regions: Regions, coarse: Floats, coarse_ink: Floats) -> NDArray[np.bool_] | None:
    """Decide which regions are filled by a coverage that may be too coarse, if it leaves no doubt about any.

    There is doubt about a region that has few votes, or votes of both kinds; about paper that reaches the page's edge
    in more than one place, as that may be a shape that the page cuts; and about ink that is no part of the fill.

    Args:
        regions: the regions of the full picture, [H, W].
        coarse: coverage of the fill, float32 [h, w], 0 to 1, of the whole picture at a size up to its own.
        coarse_ink: coverage of the ink at the same size.

    Returns:
        bool [count + 1], for ``settled_coverage``; entry 0, ink, means nothing. None if in doubt.
    """
    votes = Votes.of(regions, coarse, coarse_ink, finer=1)
    against = np.minimum(votes.share, 1 - votes.share) > _UNANIMOUS
    if votes.seams.any() or (against & votes.voted).any():
        return None
    unheard = ~votes.voted[1:]
    if unheard.any():
        areas = LabelRuns.of(regions.labels, regions.count + 1).areas()
        if areas[1:][unheard].max() > _SPECK:
            return None
    filled = votes.with_surrounded()
    if np.count_nonzero(~filled[1:] & (regions.open[1:] > 0)) > 1:
        return None
    inked, believed = votes.ink_and_belief(painted(np.where(votes.voted, _values(filled), np.uint8(0)), votes.cells))
    return None if (inked & (believed == 0)).any() else filled


def settled_coverage(regions: Regions, filled: NDArray[np.bool_]) -> Plane:
    """Compute the exact coverage of a fill whose regions are settled.

    Args:
        regions: the regions of the full picture, [H, W].
        filled: which regions are filled, bool [count + 1]; entry 0 is ink.

    Returns:
        uint8 [H, W] as of ``fill_coverage``.
    """
    return _unless_whole_page(_edged(painted(_values(filled), regions.labels), regions.ink))


def _values(filled: NDArray[np.bool_]) -> Plane:
    """Return the coverage of each label: 255 for ink and for what is filled."""
    values = np.where(filled, np.uint8(255), np.uint8(0))
    values[0] = 255
    return values


def _unless_whole_page(coverage: Plane) -> Plane:
    if np.count_nonzero(coverage > 127) > _WHOLE_PAGE * coverage.size:
        coverage[:] = 0
    return coverage


def _seam(mixed: NDArray[np.bool_], inside: Floats, visible: Floats, scale: float) -> Floats:
    """Return the share of the fill in the regions that hold both, without the parts that can only be mistakes.

    The share is exactly 0 or 1 but for a band of one cell of the coarse coverage around the seam.
    """
    radius = round(scale)
    near_inside, near_visible = (blurred(plane, radius) for plane in (inside, visible))
    share = (inside + _NEAR_INK * near_inside) / (visible + _NEAR_INK * near_visible + np.float32(1e-6))
    share = share.astype(np.float32)
    paper = mixed & (visible > CLEAR)
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
    wrong = (size < _THIN * length) | (size < MIN_PATCH)
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


def _doubted(inked: NDArray[np.bool_], believed: Plane, radius: int) -> Plane | None:
    """Return the cells whose ink is no part of the drawing, uint8 [h, w] of 0 and 1; None if there are none."""
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
