"""The white paper around a drawing -> transparency, with no white edge where the drawing is smooth.

A smooth edge is a mixture of the drawing and the paper, c = alpha * F + (1 - alpha) * white, with F the colour of the
drawing beside it. Solved for alpha by least squares, and then for the colour, it gives the mixture back over white
and none of the white over anything else (T. Porter and T. Duff, Compositing Digital Images, SIGGRAPH 1984).
"""

import numpy as np
from numpy.typing import NDArray

from polyexport.imaging.pixels import Pixels

__all__ = ["MAX_PAPER_DEPTH", "transparent"]

MAX_PAPER_DEPTH = 3
"""By how much the darkest channel of paper may fall short of 255."""

_FLAT = 4
"""Levels, and a 64th of the depth, within which two pixels have one flat colour."""


def transparent(colored: Pixels) -> NDArray[np.uint8]:
    """Make the paper around a drawing transparent.

    Paper is what is nearly white and connected to the border of the image; white that an outline encloses is none. At
    the edge of the paper, from each pixel to darker neighbours, the mixtures of paper and drawing become
    half-transparent drawing. All else is opaque.

    Args:
        colored: uint8 [H, W, 3], RGB, 0 to 255.

    Returns:
        uint8 [H, W, 4], RGBA, not premultiplied; composited on white, each channel is within 1 of ``colored``. Where
        alpha is 0 the colour is white.
    """
    height, width = colored.shape[:2]
    # One pixel of paper on every side, so that the neighbours of each pixel exist.
    framed = np.pad(colored, ((1, 1), (1, 1), (0, 0)), constant_values=255).reshape(-1, 3)
    depth = 255 - np.minimum(np.minimum(framed[:, 0], framed[:, 1]), framed[:, 2])
    paper = _connected_to_first((depth <= MAX_PAPER_DEPTH).reshape(height + 2, width + 2)).ravel()
    edge, solid = _climb(depth, paper, width + 2)

    alpha = np.where(paper, np.where(depth > 1, depth, np.uint8(0)), np.uint8(255))
    ink = 255.0 - framed[edge]
    solid_ink = 255.0 - framed[solid]
    share = (ink * solid_ink).sum(axis=1) / (solid_ink**2).sum(axis=1)
    # An alpha below the depth would need a colour below 0.
    rise = depth[solid].astype(np.int16) - depth[edge]
    flat = rise <= _FLAT + depth[solid] // 64
    alpha[edge] = np.where(flat, 255, np.clip(np.rint(255 * share), depth[edge], 255))

    framed[alpha == 0] = 255
    mixed = np.flatnonzero((alpha > 0) & (alpha < 255))
    # The colour that gives the pixel back over white.
    ink = (255.0 - framed[mixed]) * (255 / alpha[mixed, None])
    framed[mixed] = np.rint(255 - np.minimum(ink, 255)).astype(np.uint8)
    rgba = np.concatenate((framed, alpha[:, None]), axis=1).reshape(height + 2, width + 2, 4)
    return np.ascontiguousarray(rgba[1:-1, 1:-1])


def _climb(
    depth: NDArray[np.uint8], paper: NDArray[np.bool_], stride: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The pixels of smooth edges, and for each the solid pixel that it is a mixture of: up the steepest way.

    Args:
        depth: [N], 255 less the darkest channel, of a flattened image with a frame of paper.
        paper: [N].
        stride: width of the flattened image.

    Returns:
        Two arrays of indexes, of one length; a pixel without a darker neighbour is its own solid pixel.
    """
    # Not over corners, where the paper would meet what an outline of one pixel's width encloses.
    offsets = np.array([-stride, -1, 1, stride])
    beside = np.zeros_like(paper)
    for offset in (1, stride):
        beside[offset:] |= paper[:-offset]
        beside[:-offset] |= paper[offset:]
    steepest = np.arange(depth.size)
    known = paper.copy()
    front = np.flatnonzero(beside & ~paper)
    fronts = [front]
    while front.size:
        known[front] = True
        around = front[:, None] + offsets
        heights = depth[around].astype(np.int16)
        own = depth[front, None].astype(np.int16)
        rises = heights > own + own // 64  # the foot of an edge rises by single levels
        best = np.take_along_axis(around, heights.argmax(axis=1)[:, None], axis=1)[:, 0]
        steepest[front] = np.where(rises.any(axis=1), best, front)
        above = around[rises]
        front = np.unique(above[~known[above]])
        fronts.append(front)
    edge = np.concatenate(fronts)
    while not np.array_equal(further := steepest[steepest[edge]], steepest[edge]):
        steepest[edge] = further
    return edge, steepest[edge]


def _connected_to_first(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of ``mask`` that rows and columns connect to its first pixel, which is set.

    Not over corners: an outline of one pixel's width is closed there. The runs of each row are the nodes of a graph
    whose components are merged until none touch (label propagation with pointer jumping: a mask as winding as it
    likes takes few rounds).
    """
    starts = mask.copy()
    starts[:, 1:] &= ~mask[:, :-1]
    run = np.cumsum(starts.ravel(), dtype=np.int32).reshape(mask.shape) - 1  # of each pixel that is set
    both = mask[1:] & mask[:-1]
    both[:, 1:] &= ~(both[:, :-1])  # once for each pair of runs
    upper, lower = run[:-1][both], run[1:][both]
    label = np.arange(int(run[-1, -1]) + 1, dtype=np.int32)
    while True:
        lowest = np.minimum(label[upper], label[lower])
        merged = label.copy()
        np.minimum.at(merged, label[upper], lowest)
        np.minimum.at(merged, label[lower], lowest)
        while not np.array_equal(jumped := merged[merged], merged):
            merged = jumped
        if np.array_equal(merged, label):
            connected: NDArray[np.bool_] = mask & (label == label[0])[run]
            return connected
        label = merged
