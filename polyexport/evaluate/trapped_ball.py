"""Fill with trapped balls, the strongest baseline without a network: it closes gaps and takes uneven paper and pencil.

The idea is trapped-ball segmentation: Zhang, Chen, Zhang, Li, Wang, Hu: Vectorizing Cartoon Animations, IEEE
Transactions on Visualization and Computer Graphics 15, 2009. A region counts as enclosed if a ball that is wider than
the gaps around it cannot leave it. Here the balls grow, so that each region is closed by the smallest one that can.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

__all__ = ["trapped_ball_fill"]

Mask = NDArray[np.bool_]
Labels = NDArray[np.int32]
Plane = NDArray[np.float32]

LARGEST_BALL = 1 / 8
"""Radius of the largest ball, as a fraction of the shorter side of the page; gaps of up to a quarter of it close."""

GROWTH = 1.2
"""Factor from the radius of one ball to that of the next."""

ROOM_OF_WIDEST, ROOM = 1.2, 1.5
"""Least inner radius of a region behind a gap, in radii of the ball that closes it: of a region that is wider than all
that are filled already, and of a narrower one, which may be a bay of the outline."""

OPEN = 0.6
"""Largest part of a region's boundary that may be gaps: dust and letters enclose nothing."""

BESIDE = 0.7
"""Largest part of the ink around a region that may be the outline of other filled regions: it lies between them."""

FLAT, REACH = 6.0, 3.0
"""Radius of the ball that flattens a closed gap, and how far from the gap it works, in radii of the ball that closed
it."""

LEAST_CONTRAST = 0.1
"""Difference of ink and paper, as a fraction of the paper's level, under which a page has one shade and noise."""

NOISE = 3.0
"""Standard deviations of the paper's noise up to which a pixel counts as paper."""

DUST_PX = 1
"""Largest area of a speck that does not count as ink, pixels. The pieces of a dashed line may be little larger."""

PENCIL = 0.1
"""Standard deviation of the ink's level, as a fraction of the contrast, from which the ink's level is taken locally."""

_SQUARE = ndimage.generate_binary_structure(2, 2)
_CROSS = ndimage.generate_binary_structure(2, 1)


def trapped_ball_fill(image: NDArray[np.uint8], rgb: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Fill an outline drawing, uint8 [H, W, 3]: ink and what it encloses get the color, the rest is white.

    Edges keep the coverage of the ink's own edge. A region that the ink encloses together with the edge of the page is
    filled if the ink is the longer part of its boundary.
    """
    ink, coverage = _ink_of(image)
    solid = _filled(ink)
    inner = ndimage.binary_erosion(solid, _SQUARE, border_value=1) | (solid & ~ink)
    colored = 255 + (np.array(rgb, dtype=np.float32) - 255) * np.where(inner, 1, coverage)[..., None]
    return np.rint(colored).astype(np.uint8)


def _ink_of(image: NDArray[np.uint8]) -> tuple[Mask, Plane]:
    """Find the ink, bool [H, W], and how much of each pixel it covers, float32 [H, W] in [0, 1].

    Paper is 1 and black is 0 after a division by the local level of the paper, so that shadows do not count as ink.
    """
    gray = image.mean(axis=-1, dtype=np.float32)
    darkest, middle, brightest = np.percentile(gray, (0.5, 50, 99.5))
    if middle < 128 and brightest - middle > middle - darkest:
        gray = 255 - gray  # light lines on a dark page
    wide = min(gray.shape) / 16
    paper = ndimage.maximum_filter(ndimage.gaussian_filter(gray, 1), max(9, int(2 * wide)))
    level = np.clip(gray / np.maximum(_smooth(paper, wide), 1), 0, 1)
    ink = level < threshold_otsu(level) if np.ptp(level) > LEAST_CONTRAST else np.zeros(level.shape, dtype=np.bool_)
    ink = _without_dust(ink)
    if not ink.any() or np.median(level[~ink]) - np.median(level[ink]) < LEAST_CONTRAST:
        return np.zeros_like(ink), np.zeros_like(level)  # one shade, or the noise of one
    far = ~ndimage.binary_dilation(ink, iterations=3)
    white, black = _mean_around(level, far, wide, 1.0), np.full_like(level, np.median(level[ink]))
    core = level[ndimage.binary_erosion(ink)]
    if core.size and core.std() > PENCIL * (1 - black[0, 0]):
        black = _mean_around(level, ink, 1, float(black[0, 0]))
    coverage = np.clip((white - level) / np.maximum(white - black, 0.05), 0, 1)
    noise = 1.4826 * np.median(np.abs(level - white)[far]) if far.any() else 0  # from the median, for a normal one
    paper_like = (white - level < NOISE * noise) | ~ndimage.binary_dilation(ink, _SQUARE)
    return ink, np.where(paper_like, 0, coverage)


def _without_dust(ink: Mask) -> Mask:
    """Ink without specks, unless there is nothing else."""
    if not ink.any():
        return ink
    marks, _ = ndimage.label(ink, _SQUARE)
    areas = np.bincount(marks.ravel())
    areas[0] = 0
    clean: Mask = (areas > DUST_PX)[marks]
    return clean if clean.any() else ink


def _stroke_px(ink: Mask) -> float:
    """Width of the strokes, about: across a stroke the mean distance to the paper is a quarter of its width."""
    return 4 * float(_distance_to(~ink)[ink].mean()) - 1


def _mean_around(level: Plane, mask: Mask, sigma: float, default: float) -> Plane:
    """Mean of the levels in a mask, under a smooth window at every pixel; the default where the mask is far away."""
    weight = _smooth(mask.astype(np.float32), sigma)
    total = _smooth(np.where(mask, level, np.float32(0)), sigma)
    return np.where(weight > 1e-3, total / np.maximum(weight, 1e-3), np.float32(default))


def _smooth(plane: Plane, sigma: float) -> Plane:
    """Two box filters with about the standard deviation of a Gaussian one, whose time does not depend on it."""
    size = int(sigma * 6**0.5) | 1
    smooth: Plane = ndimage.uniform_filter(ndimage.uniform_filter(plane, size), size)
    return smooth


def _filled(ink: Mask) -> Mask:
    """Ink and all regions that it encloses, bool [H, W]."""
    margin = 2 + int(min(ink.shape) * LARGEST_BALL)
    page = np.pad(np.ones(ink.shape, dtype=np.bool_), margin)
    walls = np.pad(ink, margin, mode="edge")  # ink that the page cuts goes on, so that it still parts the regions
    solid, room = walls, _distance_to(walls)
    radius, widest = 0.0, 0.0
    while radius < margin - 1:
        regions, count = ndimage.label(room > radius)
        outside = _is_outside(regions, count, radius, solid, page)
        rooms = np.zeros(count + 1)
        np.maximum.at(rooms, regions.ravel(), room.ravel())
        enclosed = rooms >= np.where(rooms > widest, ROOM_OF_WIDEST, ROOM) * radius
        enclosed &= ~outside
        if enclosed.any():
            closed = _closed(solid, walls, enclosed[regions], (outside & (rooms > radius))[regions], radius)
            widest = max(widest, float(room[closed & ~solid].max(initial=0)))
            solid, room = closed, _distance_to(closed)
        radius = max(1.0, radius * GROWTH)
    return solid[margin:-margin, margin:-margin]


def _is_outside(regions: Labels, count: int, radius: float, solid: Mask, page: Mask) -> Mask:
    """Whether each label is a region outside of every shape, bool [count + 1]; label 0, which is no region, is.

    Outside is the region that has most of the frame around the page, and any other that reaches the frame, unless ink
    is more of its boundary than the edge of the page: a straight cut through a shape is shorter than the outline that
    it leaves, and around a corner of the page that a shape cuts off, the page's edge is longer.
    """
    frame = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
    lengths = np.bincount(frame, minlength=count + 1)
    lengths[0] = 0
    outside: Mask = lengths > 0
    if np.count_nonzero(outside) > 1:
        distance, (rows, columns) = ndimage.distance_transform_edt(regions == 0, return_indices=True)
        grown = np.where((distance <= radius) & page & ~solid, regions[rows, columns], 0)
        edge = np.bincount(grown[page & ~ndimage.binary_erosion(page)], minlength=count + 1)
        contact = np.bincount(grown[ndimage.binary_dilation(solid)], minlength=count + 1)
        outside &= edge >= contact
        outside[lengths.argmax()] = True
    outside[0] = True
    return outside


def _closed(solid: Mask, ink: Mask, trapped: Mask, outside: Mask, radius: float) -> Mask:
    """Add the trapped regions to what is solid, up to where the balls outside come, and flatten the closed gaps.

    A ball of the gap's own width bulges into it. A larger one closes it almost straight, but it also closes bays
    elsewhere: only what it adds next to a closed gap is kept.
    """
    regions, _ = ndimage.label(~solid & (_distance_to(outside) > radius))
    numbers = np.setdiff1d(regions[trapped], [0])
    if radius == 0:
        return solid | np.isin(regions, numbers)
    added = np.isin(regions, _held_by_ink(regions, numbers, solid, ink))
    if not added.any():
        return solid
    solid = solid | added
    large = int(FLAT * radius) + 0.5  # between two distances along an axis, so that half a pixel of slack adds no row
    margin = int(large) + 2
    grown = _distance_to(np.pad(solid, margin, mode="edge")) <= large
    flat = (_distance_to(~grown) > large - 0.5)[margin:-margin, margin:-margin]
    slivers, _ = ndimage.label(flat & ~solid & (_distance_to(added) <= REACH * radius))
    return solid | np.isin(slivers, np.setdiff1d(slivers[ndimage.binary_dilation(added)], [0]))


def _held_by_ink(regions: Labels, numbers: Labels, solid: Mask, ink: Mask) -> Labels:
    """Regions with enough ink of their own around them, of those that are named by their labels."""
    named = np.where(np.isin(regions, numbers), regions, 0)
    rim = np.where(named > 0, 0, ndimage.grey_dilation(named, footprint=_CROSS))  # pixels around, with their region
    beside = solid & (_distance_to(solid & ~ink) <= _stroke_px(ink))
    counts = [np.bincount(rim[mask], minlength=named.max() + 1)[numbers] for mask in (solid, ~solid, beside)]
    held, gaps, others = counts
    return numbers[(gaps <= OPEN * (held + gaps)) & (others <= BESIDE * held)]


def _distance_to(mask: Mask) -> NDArray[np.float64]:
    """Distance from every pixel to the nearest of a mask, pixels; infinite if the mask is empty."""
    if not mask.any():
        return np.full(mask.shape, np.inf)
    distance: NDArray[np.float64] = ndimage.distance_transform_edt(~mask)
    return distance
