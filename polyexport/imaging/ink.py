"""Ink of a drawing: how much of every pixel is covered by strokes, measured against the paper around it.

A drawing on flat white paper keeps the exact coverage of its edges. On other paper, such as a photo or a scan, the
local level of the paper is estimated first, so that uneven light and the paper's own tone are no ink.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyexport.imaging.paper import flattened
from polyexport.imaging.pixels import Pixels
from polyexport.imaging.planes import darkest_channel, histogram, largest, looked_up, smallest

__all__ = ["WALL", "Ink", "find_ink", "page_is_dark"]

Plane = NDArray[np.uint8]

_MIN_CONTRAST = 28
"""Smallest difference between the mean levels of paper and ink; less is a blank page, or a page of ink alone."""

_NOISE_WIDTHS = 3.5
"""The contrast is also at least this many standard deviations of the paper's own levels; pure noise has 2.7."""

_FAINT = 24
"""Coverage under this is noise on paper that is not flat: 9 % of 255."""

_RINGING = 0.5
"""Pixels of at most 3 % coverage for every one of 25 to 75 %, from which flat white paper has the ringing of JPEG
around its lines. Smooth edges have up to 0.35, JPEG of quality 75 to 95 has 0.8 and more, at 128 to 512 pixels."""

_CONTRAST = 1.1
"""A camera, a scanner and JPEG soften edges: coverage on such paper is spread from its middle by this. Measured."""

WALL = 77
"""Coverage from which a pixel separates regions of paper: 30 %, so that a smooth line one pixel wide has no holes."""

_EVEN = 0.87
"""Ink is even if its 60th percentile has at least this share of the contrast of its darkest tenth; pencil has 0.75."""

_EDGE_GAIN = 1.15
"""The coverage of uneven ink is scaled up by this: a pixel that pale ink touches is mostly covered. Measured."""

_FEW = 0.2
"""Weight of the median of all ink among the up to nine pixels of ink around a pixel."""

_SMOOTH = 0.75
"""Pixels of 15 to 85 % coverage for every pair of neighbors that a smooth edge one pixel wide separates."""

_BLURRED = 1.5
"""Softness from which a picture counts as blurred, pixels."""

_MAX_SOFTNESS = 6.0
"""Largest width of an edge that is sharpened in full, pixels."""

_DARK = 96
"""Median luma under which a page is dark, 0 to 255."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ink:
    """The ink of one picture."""

    coverage: Plane
    """uint8 [H, W]: share of each pixel that ink covers, 0 to 255."""


def page_is_dark(pixels: Pixels) -> bool:
    """Return whether a picture shows light lines on dark paper.

    Args:
        pixels: uint8 [H, W, 3].
    """
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    if _median(_luma(edge)) >= _DARK:
        return False
    rows, columns = max(1, pixels.shape[0] // 128), max(1, pixels.shape[1] // 128)
    return _median(_luma(pixels[::rows, ::columns])) < _DARK


def _median(values: NDArray[np.int32]) -> float:
    """Return the median, as np.median does but in a fifth of the time for few values."""
    ordered = np.sort(values, axis=None)
    return float(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def _luma(pixels: Pixels) -> NDArray[np.int32]:
    """Return the luma of ITU-R BT.601 in 256ths, rounded down: a bright color counts as light."""
    red, green, blue = (pixels[..., channel].astype(np.int32) for channel in range(3))
    luma: NDArray[np.int32] = (77 * red + 150 * green + 29 * blue) >> 8
    return luma


def find_ink(pixels: Pixels) -> Ink | None:
    """Measure the ink of a picture of dark lines on light paper.

    Args:
        pixels: uint8 [H, W, 3].

    Returns:
        The ink, or None if the picture has none: a blank page, or a page without paper.
    """
    # The darkest channel shows every color of ink, also yellow.
    level = darkest_channel(pixels)
    counts = histogram(level)
    flat = 2 * counts[255] >= counts[192:].sum() > 0
    if not flat:
        level = flattened(pixels)
        counts = histogram(level)
    split = _otsu(counts)
    if split is None:
        return None
    ink = level < split
    core = smallest(ink.view(np.uint8), 1)
    inner = level[core.view(bool)]
    paper = 255 if flat else _quantile(counts[split:], 0.5) + split
    solid = 10 * len(inner) >= counts[:split].sum()  # thin lines have few pixels that are covered in full
    dark, even = _solid_level(inner) if solid else (_quantile(counts[:split], 0.02), True)
    noisy = not flat or _rings(counts, dark)
    if even:
        gain = max(_softness(level, ink, paper, dark) if solid else 1.0, _CONTRAST if noisy else 1.0)
        coverage = looked_up(level, _ramp(paper, dark, gain, noisy=noisy))
    else:
        coverage = _uneven(level, paper, dark, core)
    if noisy:
        coverage *= largest((coverage >= WALL).view(np.uint8), 1)
    return Ink(coverage=coverage)


def _otsu(counts: NDArray[np.int64]) -> int | None:
    """Return the level that separates ink (under it) from paper, by Otsu's method; None if there is no contrast."""
    below, levels = np.cumsum(counts), np.arange(256)
    sums = np.cumsum(counts * levels)
    total, whole = int(below[-1]), int(sums[-1])
    above = total - below
    valid = (below > 0) & (above > 0)
    if not valid.any():
        return None
    mean_below = sums / np.maximum(below, 1)
    mean_above = (whole - sums) / np.maximum(above, 1)
    between = np.where(valid, below * above.astype(np.float64) * (mean_above - mean_below) ** 2, -1.0)
    last = int(between.argmax())
    light = counts[last + 1 :]
    spread = float(np.sqrt((light * (levels[last + 1 :] - mean_above[last]) ** 2).sum() / light.sum()))
    contrast = float(mean_above[last] - mean_below[last])
    if contrast < _MIN_CONTRAST or contrast < _NOISE_WIDTHS * spread:
        return None
    return last + 1


def _quantile(counts: NDArray[np.int64], share: float) -> int:
    return _quantiles(counts, share)[0]


def _quantiles(counts: NDArray[np.int64], *shares: float) -> list[int]:
    cumulated = np.cumsum(counts)
    return [int(cumulated.searchsorted(share * cumulated[-1])) for share in shares]


def _solid_level(inner: Plane) -> tuple[int, bool]:
    """Return the level of full ink, and whether all ink is about as dark, from the levels of ink amid ink."""
    darkest, half, middle = _quantiles(np.bincount(inner, minlength=256), 0.1, 0.5, 0.6)
    return half, 255 - middle >= _EVEN * (255 - darkest)


def _rings(counts: NDArray[np.int64], dark: int) -> bool:
    """Return whether flat white paper with ink of the level ``dark`` has the ringing of JPEG around its lines."""
    contrast = 255 - dark
    pale = counts[255 - max(1, (14 * contrast + 255) // 510) : 255].sum()
    halves = counts[255 - 3 * contrast // 4 : 255 - contrast // 4].sum()
    return bool(pale > _RINGING * halves + 16)


def _softness(level: Plane, ink: NDArray[np.bool_], paper: int, dark: int) -> float:
    """Return the width of the edges of solid ink, pixels: 1 for smooth and hard edges, more in a blurred picture."""
    pale, deep = (round(paper + (dark - paper) * share) for share in (0.15, 0.85))
    soft = int(np.count_nonzero((level > deep) & (level < pale)))
    edges = int(np.count_nonzero(ink[1:] != ink[:-1])) + int(np.count_nonzero(ink[:, 1:] != ink[:, :-1]))
    width = soft / (_SMOOTH * max(edges, 1))
    return min(width, _MAX_SOFTNESS) if width > _BLURRED else 1.0


def _ramp(paper: int, dark: int, gain: float, *, noisy: bool) -> Plane:
    """Return a table from level to coverage, uint8 [256]; ``gain`` is its slope at half coverage."""
    table = (paper - np.arange(256, dtype=np.float64)) * (255.0 / max(paper - dark, 1))
    table = (table - 127.5) * gain + 127.5
    if noisy:
        table[table < _FAINT] = 0
    return np.floor(np.clip(table, 0, 255) + 0.5).astype(np.uint8)


def _uneven(level: Plane, paper: int, middle: int, inner: Plane) -> Plane:
    """Return the coverage of ink whose darkness varies, such as pencil: measured against the ink inside the stroke.

    Args:
        level: levels of all pixels.
        paper: level of paper.
        middle: median level of the ink that is surrounded by ink.
        inner: 1 where ink is surrounded by ink, else 0.
    """
    drop = np.maximum(np.int16(paper) - level.astype(np.int16), np.int16(0))
    darkness = _sum_3x3((drop * inner).astype(np.int16)).astype(np.float32)
    weight = _sum_3x3(inner.astype(np.int16)).astype(np.float32)
    darkness += np.float32(_FEW * (paper - middle))
    weight += np.float32(_FEW)
    ratio = drop * (weight / darkness) * np.float32(255 * _EDGE_GAIN)
    ratio[ratio < _FAINT] = 0
    coverage: Plane = np.floor(np.minimum(ratio, 255) + np.float32(0.5)).astype(np.uint8)
    return coverage


def _sum_3x3(plane: NDArray[np.int16]) -> NDArray[np.int16]:
    rows = plane.copy()
    rows[1:] += plane[:-1]
    rows[:-1] += plane[1:]
    total = rows.copy()
    total[:, 1:] += rows[:, :-1]
    total[:, :-1] += rows[:, 1:]
    return total
