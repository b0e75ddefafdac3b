"""Generator of synthetic outline drawings and their filled counterparts. Needs NumPy and Pillow, no torch.

``draw(rng, size)`` makes one pair. The result depends only on the state of ``rng``, so one seed gives one data set.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polyexport.data.drawing_config import DrawingConfig
from polyexport.data.geometry import broken, cells, joined, placed
from polyexport.data.outlines import OUTLINES
from polyexport.data.rendering import all_reachable, coverage, inked_paper
from polyexport.data.shapes import POCKET_SHAPES, SHAPES
from polyexport.data.sketch_config import SketchConfig
from polyexport.data.vocabulary import VOCABULARY

__all__ = ["Drawing", "DrawingsConfig", "draw", "random_color", "with_palette"]

_SUPERSAMPLING = 4
"""Anti-aliased drawings are rendered at this multiple of their size and box-filtered down."""

_MAX_ATTEMPTS = 16
"""Attempts at a drawing whose pockets stay open; the last attempt is kept as it is."""


DrawingsConfig = DrawingConfig | SketchConfig
"""Configuration of generated drawings: of plain outlines, or of sketches."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """One training pair: an outline drawing and its filled counterpart."""

    shape: str
    """One of ``polyexport.data.shapes.SHAPES``, ``multi`` for several shapes in one drawing, or ``sketch``."""

    color: tuple[int, int, int]
    """Fill color, sRGB, 0 to 255."""

    image: NDArray[np.uint8]
    """Outline drawing, [H, W, 3], RGB."""

    colored: NDArray[np.uint8]
    """Target, [H, W, 3], RGB: the outline and what it encloses in ``color``, on white."""


def random_color(rng: np.random.Generator, config: DrawingConfig) -> tuple[int, int, int]:
    """Choose a random fill color: sRGB, 0 to 255."""
    if config.palette:
        return config.palette[rng.integers(len(config.palette))]
    if rng.random() < config.random_color:
        red, green, blue = rng.integers(0, 256, 3).tolist()
    elif rng.random() < 0.5:
        red, green, blue = VOCABULARY[rng.integers(len(VOCABULARY))][1]
    else:
        red, green, blue = (rng.integers(0, 2, 3) * 255).tolist()
    return red, green, blue


def with_palette(config: DrawingsConfig, palette: tuple[tuple[int, int, int], ...]) -> DrawingsConfig:
    """Return a configuration whose only fill colors are those of ``palette``, sRGB, 0 to 255; any color if empty."""
    if isinstance(config, SketchConfig):
        return replace(config, outlines=replace(config.outlines, palette=palette))
    return replace(config, palette=palette)


def draw(
    rng: np.random.Generator,
    size: int,
    config: DrawingsConfig | None = None,
    *,
    shape: str | None = None,
    color: tuple[int, int, int] | None = None,
) -> Drawing:
    """Draw one outline or sketch and its filled counterpart.

    Args:
        rng: The only source of randomness.
        size: Height and width in pixels, at least 16.
        config: How varied the drawings are; the default is plain outlines.
        shape: One of ``polyexport.data.shapes.SHAPES``, for plain outlines only; random if None.
        color: Fill color, sRGB, 0 to 255; random if None.

    Raises:
        ValueError: ``size`` is under 16 or ``shape`` is unknown.
    """
    if size < 16:
        raise ValueError(f"size must be at least 16 pixels, got {size}")
    config = config or DrawingConfig()
    if isinstance(config, SketchConfig):
        if shape is None and rng.random() >= config.plain:
            return _sketched(rng, size, config, color)
        config = config.outlines
    if shape is not None and shape not in SHAPES:
        raise ValueError(f"unknown shape {shape!r}; known: {', '.join(SHAPES)}")
    color = color if color is not None else random_color(rng, config)
    count = int(rng.integers(2, 5)) if rng.random() < config.multiple else 1
    antialiased = rng.random() < config.antialiased
    gapped = rng.random() < config.gapped

    for _ in range(_MAX_ATTEMPTS):
        names = [shape or str(rng.choice(config.shapes or SHAPES)) for _ in range(count)]
        # Log-uniform: thin strokes are the common case, and the hard one.
        thinnest = max(0.6 if antialiased else 0.75, config.min_stroke * size)
        widest = max(2.0, config.max_stroke * size / (1 if count == 1 else 2))
        stroke_width = float(np.exp(rng.uniform(np.log(min(thinnest, widest)), np.log(widest))))
        if not antialiased:
            stroke_width = float(max(1, round(stroke_width)))
        outlines = [
            placed(OUTLINES[name](rng), rng, cell, margin=stroke_width / 2 + 1)
            for name, cell in zip(names, cells(rng, size, count), strict=True)
        ]
        strokes = [
            stroke
            for outline in outlines
            for stroke in (broken(outline, rng, config.longest_gap, stroke_width) if gapped else [joined(outline)])
        ]
        ink, fill = coverage(outlines, strokes, size, stroke_width, _SUPERSAMPLING if antialiased else 1)
        # A pocket whose mouth the stroke closes would count as inside for anyone who looks: draw another.
        if not any(name in POCKET_SHAPES for name in names) or all_reachable(fill == 0):
            break

    return Drawing(
        shape=names[0] if count == 1 else "multi",
        color=color,
        image=inked_paper(ink, rng, config),
        colored=_colored(fill.astype(np.float32) / 255.0, color),
    )


def _sketched(rng: np.random.Generator, size: int, config: SketchConfig, color: tuple[int, int, int] | None) -> Drawing:
    from polyexport.data.sketches.sketch import sketch  # SciPy and icon packages, which plain outlines do not need

    color = color if color is not None else random_color(rng, config.outlines)
    image, coverage = sketch(rng, size, config)
    return Drawing(shape="sketch", color=color, image=image, colored=_colored(coverage, color))


def _colored(coverage: NDArray[np.float32], color: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Lay a color over white, by its coverage [H, W], 0 to 1."""
    levels = 255.0 + (np.array(color, dtype=np.float32) - 255.0) * coverage[..., None]
    rounded: NDArray[np.uint8] = np.rint(levels).astype(np.uint8)
    return rounded
