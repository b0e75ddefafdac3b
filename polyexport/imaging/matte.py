"""Transparency for the white background ("paper") around a drawing, without a white fringe at anti-aliased edges.

An anti-aliased edge is a mixture of the drawing and the paper, c = alpha * F + (1 - alpha) * white, where F is the
color of the drawing beside the edge. The equation is solved for alpha by least squares, and then for the color.
Composited on white, the result equals the input; composited on anything else, it shows no white (T. Porter and T. Duff,
Compositing Digital Images, SIGGRAPH 1984).

The alpha that an image had before it was composited on white is put back by the same equation.
"""

import numpy as np
from numpy.typing import NDArray

from polyexport.imaging.pixels import Pixels

__all__ = ["MAX_PAPER_DEPTH", "on_white", "transparent", "with_alpha"]

MAX_PAPER_DEPTH = 3
"""Largest difference between 255 and the darkest channel of a pixel that counts as paper."""

_FLAT_DEPTH_DIFFERENCE = 4
"""Largest difference of depth, in levels, between two pixels of one flat color; a 64th of the depth is added to it."""


def transparent(colored: Pixels) -> NDArray[np.uint8]:
    """Make the paper around a drawing transparent.

    Paper is every nearly white pixel that is connected to the border of the image; white areas that an outline encloses
    are not paper. Mixtures of paper and drawing, along the edge of the paper, become partly transparent pixels in the
    color of the drawing. All other pixels are opaque.

    Args:
        colored: uint8 [H, W, 3], RGB, 0 to 255.

    Returns:
        uint8 [H, W, 4], RGBA, not premultiplied; composited on white, each channel is within 1 of ``colored``. Where
        alpha is 0 the color is white.
    """
    height, width = colored.shape[:2]
    # One pixel of paper on every side, so that the neighbors of each pixel exist.
    framed = np.pad(colored, ((1, 1), (1, 1), (0, 0)), constant_values=255).reshape(-1, 3)
    depth = 255 - np.minimum(np.minimum(framed[:, 0], framed[:, 1]), framed[:, 2])
    paper = _connected_to_first((depth <= MAX_PAPER_DEPTH).reshape(height + 2, width + 2)).ravel()
    edge, solid = _find_edges(depth, paper, width + 2)

    alpha = np.where(paper, np.where(depth > 1, depth, np.uint8(0)), np.uint8(255))
    ink = 255.0 - framed[edge]
    solid_ink = 255.0 - framed[solid]
    share = (ink * solid_ink).sum(axis=1) / (solid_ink**2).sum(axis=1)
    # An alpha below the depth would need a color below 0.
    rise = depth[solid].astype(np.int16) - depth[edge]
    flat = rise <= _FLAT_DEPTH_DIFFERENCE + depth[solid] // 64
    alpha[edge] = np.where(flat, 255, np.clip(np.rint(255 * share), depth[edge], 255))

    framed[alpha == 0] = 255
    mixed = np.flatnonzero((alpha > 0) & (alpha < 255))
    # The color that gives the pixel back when it is composited on white.
    ink = (255.0 - framed[mixed]) * (255 / alpha[mixed, None])
    framed[mixed] = np.rint(255 - np.minimum(ink, 255)).astype(np.uint8)
    rgba = np.concatenate((framed, alpha[:, None]), axis=1).reshape(height + 2, width + 2, 4)
    return np.ascontiguousarray(rgba[1:-1, 1:-1])


def with_alpha(colors: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Give pixels on white an alpha, without a white fringe where it is partial.

    Args:
        colors: uint8 [H, W, C], gray (1 channel) or RGB (3), 0 to 255, as they look on white.
        alpha: uint8 [H, W, 1], 0 for transparent.

    Returns:
        uint8 [H, W, C + 1], not premultiplied. Composited on white, each channel is within 1 of ``colors`` wherever the
        alpha lets it be as dark. Where alpha is 0 the color is white.
    """
    ink = (255.0 - colors) * (255 / np.maximum(alpha, 1))
    pure = np.where(alpha == 255, colors, np.rint(255 - np.minimum(ink, 255)).astype(np.uint8))
    return np.concatenate([np.where(alpha == 0, np.uint8(255), pure), alpha], axis=2)


def on_white(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Composite pixels on white.

    Args:
        pixels: uint8 [H, W, C], gray and alpha (2 channels) or RGBA (4), 0 to 255.

    Returns:
        uint8 [H, W, C - 1].
    """
    alpha = pixels[..., -1:].astype(np.uint16)
    mixed: NDArray[np.uint8] = ((pixels[..., :-1] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return mixed


def _find_edges(
    depth: NDArray[np.uint8], paper: NDArray[np.bool_], stride: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Find the pixels of anti-aliased edges, and for each the solid pixel whose color it is a mixture of.

    The solid pixel is reached from the edge by going to the neighbor with the largest depth until none is deeper.

    Args:
        depth: uint8 [N], 255 minus the darkest channel of each pixel, of a flattened image with a frame of paper.
        paper: bool [N], True for paper.
        stride: Width of the flattened image, in pixels.

    Returns:
        Two arrays of indexes of equal length; a pixel without a darker neighbor is its own solid pixel.
    """
    # Diagonal neighbors do not count: through them the paper would reach into an outline of one pixel's width.
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
    """Return the pixels of ``mask`` that are 4-connected to its first pixel, which must be set.

    Diagonal neighbors are not connected: an outline of one pixel's width is closed there. The runs of each row are the
    nodes of a graph whose components are merged by label propagation with pointer jumping, which takes few rounds also
    for winding masks.
    """
    starts = mask.copy()
    starts[:, 1:] &= ~mask[:, :-1]
    run = (
        np.cumsum(starts.ravel(), dtype=np.int32).reshape(mask.shape) - 1
    )  # number of the run that each set pixel belongs to
    both = mask[1:] & mask[:-1]
    both[:, 1:] &= ~(both[:, :-1])  # one pixel for each pair of touching runs
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
