"""Contours of the glyphs of installed fonts, as strokes."""

import io
import logging
from functools import cache, lru_cache

import numpy as np
from fontTools.pens.basePen import BasePen
from fontTools.ttLib import TTFont
from PIL import ImageFont

from polyexport.data.outlines import Points
from polyexport.data.sketches.strokes import Stroke, as_stroke, boxed

__all__ = ["glyph", "glyph_names"]

_CURVE_POINTS = 5
"""Number of vertices for each curved segment of a contour."""


class _FlatteningPen(BasePen):  # type: ignore[misc]  # fontTools has no types
    """Collects the contours of a glyph as polygons."""

    def __init__(self, glyphs: object) -> None:
        super().__init__(glyphs)
        self.contours: list[list[tuple[float, float]]] = []

    def _moveTo(self, point: tuple[float, float]) -> None:  # noqa: N802 - fontTools names it
        self.contours.append([point])

    def _lineTo(self, point: tuple[float, float]) -> None:  # noqa: N802
        self.contours[-1].append(point)

    def _qCurveToOne(self, control: tuple[float, float], end: tuple[float, float]) -> None:  # noqa: N802
        self.contours[-1] += _bezier([self.contours[-1][-1], control, end])

    def _curveToOne(  # noqa: N802
        self, first: tuple[float, float], second: tuple[float, float], end: tuple[float, float]
    ) -> None:
        self.contours[-1] += _bezier([self.contours[-1][-1], first, second, end])


def _bezier(controls: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Flatten a Bezier curve of any degree (de Casteljau): its points after the first one."""
    t = np.linspace(0, 1, _CURVE_POINTS + 1)[1:, None, None]
    level = np.broadcast_to(np.array(controls, dtype=np.float64), (_CURVE_POINTS, len(controls), 2))
    while level.shape[1] > 1:
        level = level[:, :-1] * (1 - t) + level[:, 1:] * t
    return [(float(x), float(y)) for x, y in level[:, 0]]


@cache
def _font(path: str | None) -> TTFont:
    logging.getLogger("fontTools").setLevel(logging.ERROR)  # it remarks on old timestamps
    if path:
        return TTFont(path)
    font = ImageFont.load_default(16)
    assert isinstance(font, ImageFont.FreeTypeFont)  # Pillow's wheels contain FreeType
    return TTFont(io.BytesIO(font.font_bytes))


@cache
def glyph_names(path: str) -> list[str]:
    """Return the names of a font's glyphs, sorted."""
    return sorted(name for name in _font(path).getGlyphOrder() if not name.startswith((".", "glyph")))


@lru_cache(maxsize=8192)
def glyph(path: str | None, name: str, *, solid: bool) -> list[Stroke]:
    """Return the contours of a glyph in a box of side 1 around 0; empty if it has none.

    Args:
        path: File of the font; None for the font that Pillow contains.
        name: Name of the glyph, or its character.
        solid: Whether the contours bound ink, as in print; otherwise they are lines.
    """
    glyphs = _font(path).getGlyphSet()
    pen = _FlatteningPen(glyphs)
    glyphs[_font(path).getBestCmap()[ord(name)] if len(name) == 1 else name].draw(pen)
    contours = [np.array(contour, dtype=np.float64) * [1, -1] for contour in pen.contours]  # fonts count y upwards
    strokes = [stroke for contour in contours for stroke in as_stroke(contour, closed=True)]
    if not strokes:
        return []
    if solid:
        # Holes run against the direction of the contour around them; larger contours are painted first.
        areas = [_signed_area(stroke.points) for stroke in strokes]
        outer = np.sign(max(areas, key=abs))
        strokes = [
            Stroke(points=stroke.points, solid=1 if np.sign(area) == outer else -1)
            for area, stroke in sorted(zip(areas, strokes, strict=True), key=lambda pair: -abs(pair[0]))
        ]
    return boxed(strokes)


def _signed_area(points: Points) -> float:
    x, y = points[:, 0], points[:, 1]
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)
