"""Subjects of the sketches: icons, symbols, letters and outlines, as strokes in a box of side 1 around 0.

The icons are those of Lucide (ISC license) and the symbols those of Material Design Icons (Apache License 2.0), which
the packages ``lucide`` and ``fonticon-materialdesignicons7`` bring; the letters are those of the font that Pillow
contains, Aileron (CC0). All are read from the installed packages; none is part of polyexport.
"""

import io
import zipfile
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from polyexport.data.outlines import OUTLINES
from polyexport.data.shapes import SHAPES
from polyexport.data.sketches.strokes import Stroke, as_stroke, boxed

__all__ = ["icon", "letter", "outline", "symbol"]

_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZabdegopqrstuy0123456789&@?!%$"

_CURVE_POINTS = 10
"""Number of vertices for each curved segment of a path."""


def outline(rng: np.random.Generator) -> list[Stroke]:
    """Draw the outline of one of the shapes of ``polyexport.data.shapes``."""
    return boxed([Stroke(points=OUTLINES[str(rng.choice(SHAPES))](rng))])


def icon(rng: np.random.Generator) -> list[Stroke]:
    """Draw a random Lucide icon."""
    return _icon(int(rng.integers(len(_icon_files()[1]))))


def symbol(rng: np.random.Generator) -> list[Stroke]:
    """Draw a random Material Design symbol: its contours as lines or, if it is an outline already, as ink."""
    from polyexport.data.sketches.glyphs import glyph, glyph_names

    path = _package_folder("fonticon_mdi7") / "fonts" / "materialdesignicons-webfont.ttf"
    names = glyph_names(str(path))
    name = names[int(rng.integers(len(names)))]
    return glyph(str(path), name, solid=name.endswith("-outline"))


def letter(rng: np.random.Generator) -> list[Stroke]:
    """Draw the contours of a random letter."""
    from polyexport.data.sketches.glyphs import glyph

    return glyph(None, _LETTERS[int(rng.integers(len(_LETTERS)))], solid=False)


def _package_folder(package: str) -> Path:
    """Return the folder of an installed package, without importing it.

    Raises:
        ModuleNotFoundError: The package is not installed.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    return Path(next(iter(spec.submodule_search_locations)))


@cache
def _icon_files() -> tuple[zipfile.ZipFile, list[str]]:
    archive = zipfile.ZipFile(io.BytesIO((_package_folder("lucide") / "lucide.zip").read_bytes()))
    return archive, sorted(name for name in archive.namelist() if name.endswith(".svg"))


@lru_cache(maxsize=4096)
def _icon(number: int) -> list[Stroke]:
    from svgelements import SVG, Shape
    from svgelements import Path as SvgPath

    archive, names = _icon_files()
    strokes: list[Stroke] = []
    for element in SVG.parse(io.BytesIO(archive.read(names[number]))).elements():
        if isinstance(element, Shape):
            solid = element.fill.value is not None and element.fill.alpha != 0
            for part in SvgPath(element).as_subpaths():
                strokes += _stroke_of(SvgPath(part), solid)
    return boxed(strokes) if strokes else []


def _stroke_of(path: Any, solid: bool) -> list[Stroke]:
    """Convert one subpath of svgelements to a stroke; none for a single point."""
    points: list[tuple[float, float]] = []
    closed = False
    for segment in path:
        kind = type(segment).__name__
        if kind == "Move" or kind == "Line":
            points.append((segment.end.x, segment.end.y))
        elif kind == "Close":
            closed = True
        else:
            points += [(p.x, p.y) for p in (segment.point(t) for t in np.linspace(0, 1, _CURVE_POINTS + 1)[1:])]
    return as_stroke(np.array(points), closed, int(solid))
