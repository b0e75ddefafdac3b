"""Rendering of strokes to ink, and what the ink encloses."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from polyexport.data.geometry import distances_along
from polyexport.data.outlines import Points
from polyexport.data.sketches.strokes import Stroke, normals

__all__ = ["Grid", "erased", "inked", "outside_of", "page_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """The pixels that a sketch is rendered on: finer than the page, and larger where the page cuts the drawing."""

    size: int
    """Side of the page, pixels of the result."""

    scale: int
    """Pixels of the grid for each pixel of the result, along each side."""

    margin: int
    """Width of what is rendered beyond each edge of the page, pixels of the result."""

    @property
    def side(self) -> int:
        """Side of the grid, in its own pixels."""
        return (self.size + 2 * self.margin) * self.scale

    def positions(self, points: Points) -> Points:
        """Convert points of the page, pixels of the result, to positions on the grid."""
        moved: Points = (points + self.margin) * self.scale
        return moved


def inked(
    grid: Grid, strokes: list[Stroke], widths: list[NDArray[np.float64] | float], *, rounded: bool
) -> Image.Image:
    """Render strokes.

    Args:
        grid: What to render on.
        strokes: Lines, and contours of solid parts, in the order in which they cover each other.
        widths: Width of each stroke, pixels of the result: one number, or one for each of its points.
        rounded: Whether open lines have round ends.

    Returns:
        The ink, mode ``L``, 255 where there is ink; on the grid.
    """
    image = Image.new("L", (grid.side, grid.side), 0)
    pen = ImageDraw.Draw(image)
    for stroke, width in zip(strokes, widths, strict=True):
        points = grid.positions(stroke.points)
        if stroke.solid:
            pen.polygon(_pairs(points), fill=255 if stroke.solid > 0 else 0)
        elif isinstance(width, float):
            _line(pen, points, width * grid.scale, 255, closed=stroke.closed, rounded=rounded)
        else:
            _uneven_line(pen, points, width * grid.scale, closed=stroke.closed, rounded=rounded)
    return image


def erased(ink: Image.Image, grid: Grid, lines: list[tuple[Points, float]], bites: list[tuple[Points, float]]) -> None:
    """Remove ink in place.

    Args:
        ink: The ink, on the grid.
        grid: The grid.
        lines: Polylines [K, 2] along which the ink is removed, with the width of what is removed; the ends are cut.
        bites: Centers [2] and radii of round erasures. All in pixels of the result.
    """
    pen = ImageDraw.Draw(ink)
    for points, width in lines:
        _line(pen, grid.positions(points), width * grid.scale, fill=0)
    for center, radius in bites:
        _disc(pen, grid.positions(center), radius * grid.scale, fill=0)


def outside_of(ink: Image.Image) -> NDArray[np.bool_]:
    """Return where the paper is connected to the border of the grid along edges of pixels: bool [side, side]."""
    paper = np.pad(np.asarray(ink) == 0, 1, constant_values=True)
    regions, _ = ndimage.label(paper)
    outside: NDArray[np.bool_] = regions[1:-1, 1:-1] == regions[0, 0]
    return outside


def page_of(image: Image.Image, grid: Grid) -> NDArray[np.uint8]:
    """Cut the page out of an image on the grid and average its pixels: uint8 [size, size]."""
    first = grid.margin * grid.scale
    last = first + grid.size * grid.scale
    page = image.crop((first, first, last, last))
    return np.asarray(page.reduce(grid.scale) if grid.scale > 1 else page)


def _pairs(points: Points) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points.tolist()]


def _disc(pen: ImageDraw.ImageDraw, center: Points, radius: float, fill: int) -> None:
    x, y = center.tolist()
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def _line(
    pen: ImageDraw.ImageDraw, points: Points, width: float, fill: int, *, closed: bool = False, rounded: bool = False
) -> None:
    thickness = max(1, round(width))
    ring = np.concatenate([points, points[:1]]) if closed else points
    pen.line(_pairs(ring), fill=fill, width=thickness)
    if thickness > 2:
        # Discs at the corners: Pillow's own round joints leave notches where vertices are close to each other.
        corners = points
        if not (closed or rounded):
            corners = points[_away_from_ends(points, thickness / 2)]
            _band(pen, points, thickness / 2, fill)
        for corner in corners:
            _disc(pen, corner, (thickness - 1) / 2, fill=fill)


def _band(pen: ImageDraw.ImageDraw, points: Points, reach: float, fill: int) -> None:
    """Fill what is within ``reach`` of a line, square to it, without the wedges that bends leave between its parts."""
    sideways = reach * normals(points)
    left, right = points + sideways, points - sideways
    for each in zip(left[:-1], left[1:], right[1:], right[:-1], strict=True):
        pen.polygon(_pairs(np.stack(each)), fill=fill)


def _away_from_ends(points: Points, radius: NDArray[np.float64] | float) -> NDArray[np.bool_]:
    """Return at which vertices a disc of this radius does not reach beyond the ends of the line: bool [K]."""
    along = distances_along(points)
    kept: NDArray[np.bool_] = (along >= radius) & (along[-1] - along >= radius)
    return kept


def _uneven_line(
    pen: ImageDraw.ImageDraw, points: Points, widths: NDArray[np.float64], *, closed: bool, rounded: bool
) -> None:
    ring = np.concatenate([points, points[:1]]) if closed else points
    thick = np.concatenate([widths, widths[:1]]) if closed else widths
    for start, end, width in zip(ring[:-1], ring[1:], (thick[:-1] + thick[1:]) / 2, strict=True):
        pen.line(_pairs(np.stack([start, end])), fill=255, width=max(1, round(float(width))))
    discs = widths > 2
    if not (closed or rounded):
        discs &= _away_from_ends(points, widths / 2)
    for corner, width in zip(points[discs], widths[discs], strict=True):
        _disc(pen, corner, float(width) / 2 - 0.5, fill=255)
