"""One sketch and its exact answer."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from polyexport.data.sketch_config import SketchConfig
from polyexport.data.sketches.gaps import gaps_in
from polyexport.data.sketches.paper import inked_page, photo_of_something, photographed, textured_paper
from polyexport.data.sketches.raster import Grid, erased, inked, outside_of, page_of
from polyexport.data.sketches.scene import Scene, scene
from polyexport.data.sketches.strokes import bent

__all__ = ["sketch"]

_MAX_ATTEMPTS = 8
"""Attempts at a sketch that encloses something, does not fill the page, and has lines if it is to have gaps; the last
one is kept as it is."""

_LITTLE_ENCLOSED = 0.02
"""Part of the page under which the paper that a drawing encloses counts as little."""

_LARGEST_FILL = 0.93
"""Largest part of the page that the answer may color."""


def sketch(rng: np.random.Generator, size: int, config: SketchConfig) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Draw one sketch.

    Args:
        rng: The only source of randomness.
        size: Height and width of the page in pixels, at least 16.
        config: How varied the sketches are.

    Returns:
        The picture, uint8 [size, size, 3], RGB; and the coverage of its answer, float32 [size, size], 0 (outside) to 1:
        everything that ink encloses, where it is whole, and the ink itself.
    """
    paper = textured_paper(rng, size, config) if rng.random() < config.paper else _plain_paper(rng, size)
    if rng.random() < config.empty:
        ink, answer, paper = _empty_page(rng, size, paper)
    else:
        ink, answer = _drawn(rng, size, config)
    coverage = ink
    if rng.random() < config.marker:
        coverage = ink * np.float32(rng.uniform(0.5, 0.9))
    levels = inked_page(rng, coverage, paper, config)
    if rng.random() < config.camera:
        pixels = photographed(rng, levels)
    else:
        pixels = np.rint(levels.clip(0, 255)).astype(np.uint8)
    if rng.random() < config.inverted:
        pixels = 255 - pixels
    return pixels, answer


def _plain_paper(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    level = 255.0 if rng.random() < 0.7 else rng.uniform(225, 255)
    return np.full((size, size, 3), level, dtype=np.float32)


def _drawn(
    rng: np.random.Generator, size: int, config: SketchConfig
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw the ink of a sketch: its coverage with gaps, and the coverage of the answer, float32 [size, size]."""
    aliased = rng.random() < config.aliased
    gapped = rng.random() < config.gapped
    scale = 1 if aliased else 4 if size <= 96 else 3 if size <= 192 else 2
    for _ in range(_MAX_ATTEMPTS):
        drawn = scene(rng, size, config)
        grid = Grid(size=size, scale=scale, margin=int(min(drawn.beyond, 1.0 * size)) + 1)
        strokes, widths, rounded = drawn.strokes, _widths(rng, drawn, config), rng.random() < 0.7
        if rng.random() < config.doubled:
            strokes = strokes + bent(strokes, rng, 0.02 * size, 0.2 * size)
            widths = widths + widths
        ink = inked(grid, strokes, widths, rounded=rounded)
        outside = outside_of(ink)
        answer = _answer(outside, grid)
        fits = answer.mean() <= _LARGEST_FILL and not (gapped and all(stroke.solid for stroke in strokes))
        enclosed = (answer - _share(page_of(ink, grid))).mean()
        if fits and (enclosed > _LITTLE_ENCLOSED or rng.random() < config.open_subjects):
            break
    if gapped:
        widest = [float(np.max(width)) for width in widths]
        erasures = gaps_in(rng, config, grid, strokes, widest, outside)
        erased(ink, grid, erasures.lines, erasures.bites)
    return _share(page_of(ink, grid)), answer


def _share(levels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Convert levels, 0 to 255, to shares of a pixel, 0 to 1."""
    return levels.astype(np.float32) / np.float32(255)


def _answer(outside: NDArray[np.bool_], grid: Grid) -> NDArray[np.float32]:
    """Return how much of each pixel of the page is not outside: float32 [size, size], 0 to 1."""
    return np.float32(1) - _share(page_of(Image.fromarray(outside.view(np.uint8) * np.uint8(255)), grid))


def _widths(rng: np.random.Generator, drawn: Scene, config: SketchConfig) -> list[NDArray[np.float64] | float]:
    """Choose the width of each stroke: one for all, or one that varies along every stroke."""
    if rng.random() >= config.uneven_width:
        return [drawn.width] * len(drawn.strokes)
    amount = rng.uniform(0.1, 0.5)
    widths: list[NDArray[np.float64] | float] = []
    for stroke in drawn.strokes:
        phase = np.linspace(0, 2 * np.pi, len(stroke.points), endpoint=False)
        waves = [np.sin(turns * phase + rng.uniform(0, 2 * np.pi)) for turns in rng.integers(1, 6, 3)]
        widths.append(np.maximum(0.7, drawn.width * (1 + amount * np.mean(waves, axis=0))))
    return widths


def _empty_page(
    rng: np.random.Generator, size: int, paper: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Make a page without a drawing: its ink, the answer, and its paper."""
    nothing = np.zeros((size, size), dtype=np.float32)
    draw = rng.random()
    if draw < 0.35:
        return nothing, nothing, paper
    if draw < 0.45:
        return nothing, nothing, paper * np.float32(rng.uniform(0, 0.35))
    if draw < 0.65:
        return nothing, nothing, photo_of_something(rng, size)
    grid = Grid(size=size, scale=2, margin=1)
    text = Image.new("L", (grid.side, grid.side), 0)
    height = max(12, int(rng.uniform(0.05, 0.14) * grid.side))
    font = ImageFont.load_default(height)
    pen = ImageDraw.Draw(text)
    for top in range(height // 2, grid.side - height, int(1.4 * height)):
        letters = "".join(chr(rng.integers(97, 123)) if rng.random() < 0.85 else " " for _ in range(40))
        pen.text((height, top), letters[: max(1, int(grid.side / height * 1.3))], font=font, fill=255)
    text = text.point(lambda level: 255 if level > 127 else 0)
    return _share(page_of(text, grid)), _answer(outside_of(text), grid), paper
