"""Synthetic outline drawings and their filled counterparts: numpy and pillow, no torch.

``draw(rng, size)`` makes one pair. The generator's state alone decides the result, so one seed gives one data set.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw

__all__ = ["SHAPES", "Drawing", "DrawingConfig", "draw"]

Points = NDArray[np.float64]
"""[K, 2] x, y vertices of a closed outline, without a repeated last vertex."""

SUPERSAMPLING = 4
"""Anti-aliased drawings are rendered at this multiple of their size and box-filtered down."""

_CSS_COLORS = np.array([ImageColor.getrgb(name) for name in sorted(ImageColor.colormap)])


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawingConfig:
    """How varied the drawings are. Every field is a probability in [0, 1] unless it says otherwise."""

    antialiased: float = 0.5
    """Smooth strokes of any width; the others are aliased, a whole number of pixels wide."""

    gapped: float = 0.3
    """Outlines broken in one to three places."""

    noisy: float = 0.15
    """Gaussian noise on the input, standard deviation 2 to 14 of 255."""

    tinted: float = 0.2
    """Grey ink on slightly off-white paper in place of black on white."""

    random_color: float = 0.5
    """Any 24-bit colour; of the others, half are CSS named colours and half have channels of 0 or 255 alone, which a
    Tanh output finds hardest."""

    max_stroke: float = 0.09
    """Widest stroke, as a fraction of the image size."""

    palette: tuple[tuple[int, int, int], ...] = ()
    """If not empty, the only fill colours."""

    def __post_init__(self) -> None:
        for name in ("antialiased", "gapped", "noisy", "tinted", "random_color", "max_stroke"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """One training pair."""

    shape: str
    """A key of ``SHAPES``."""

    color: tuple[int, int, int]
    """sRGB fill, 0 to 255."""

    image: NDArray[np.uint8]
    """[H, W, 3] RGB, the outline drawing."""

    colored: NDArray[np.uint8]
    """[H, W, 3] RGB, the outline and what it encloses in ``color``, on white."""


def _polar(angles: NDArray[np.floating], radii: NDArray[np.floating] | float) -> Points:
    return np.stack([np.cos(angles) * radii, np.sin(angles) * radii], axis=1).astype(np.float64)


def _regular(sides: int) -> Points:
    """A regular polygon standing on an edge or, for odd counts, pointing up (y grows downwards)."""
    turn = np.pi / sides if sides % 2 == 0 else 0.0
    return _polar(np.arange(sides) * (2 * np.pi / sides) - np.pi / 2 + turn, 1.0)


def _star(rng: np.random.Generator) -> Points:
    tips = int(rng.choice([5, 5, 5, 4, 6, 7, 8]))
    radii = np.tile([1.0, rng.uniform(0.3, 0.7)], tips)
    return _polar(np.arange(2 * tips) * (np.pi / tips) - np.pi / 2, radii)


def _diamond(rng: np.random.Generator) -> Points:
    return _polar(np.arange(4) * (np.pi / 2), 1.0) * [rng.uniform(0.5, 1.0), 1.0]


def _rectangle(rng: np.random.Generator) -> Points:
    height = 1.0 if rng.random() < 0.5 else rng.uniform(0.3, 1.0)
    return np.array([[-1.0, -height], [1.0, -height], [1.0, height], [-1.0, height]])


def _jittered_angles(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    step = 2 * np.pi / count
    angles: NDArray[np.float64] = np.arange(count) * step + rng.uniform(-0.35, 0.35, count) * step
    return angles


def _irregular(rng: np.random.Generator) -> Points:
    count = int(rng.integers(4, 10))
    return _polar(_jittered_angles(rng, count), rng.uniform(0.65, 1.0, count))


def _concave(rng: np.random.Generator) -> Points:
    count = int(rng.integers(5, 13))
    return _polar(_jittered_angles(rng, count), rng.uniform(0.25, 1.0, count))


def _rounded(rng: np.random.Generator) -> Points:
    """Corner cutting (Chaikin, 1974) of an angular outline."""
    points = (_irregular, _concave, _rectangle, _star)[rng.integers(4)](rng)
    for _ in range(3):
        following = np.roll(points, -1, axis=0)
        points = np.stack([0.75 * points + 0.25 * following, 0.25 * points + 0.75 * following], axis=1).reshape(-1, 2)
    return points


def _blob(rng: np.random.Generator) -> Points:
    """A circle whose radius carries a few random harmonics."""
    angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    radii = np.ones_like(angles)
    for harmonic in range(2, 6):
        radii += rng.uniform(0, 0.5 / harmonic) * np.cos(harmonic * angles + rng.uniform(0, 2 * np.pi))
    return _polar(angles, radii)


def _crescent(rng: np.random.Generator) -> Points:
    """A thick arc, like the letter C: its deep pocket lies outside."""
    reach = rng.uniform(0.55, 0.88) * np.pi
    angles = np.linspace(-reach, reach, 40)
    return np.concatenate([_polar(angles, 1.0), _polar(angles[::-1], rng.uniform(0.35, 0.75))])


SHAPES: dict[str, Callable[[np.random.Generator], Points]] = {
    "circle": lambda rng: _polar(np.linspace(0, 2 * np.pi, 72, endpoint=False), 1.0),
    "diamond": _diamond,
    "hexagon": lambda rng: _regular(6),
    "octagon": lambda rng: _regular(8),
    "pentagon": lambda rng: _regular(5),
    "square": _rectangle,
    "star": _star,
    "triangle": lambda rng: _regular(3),
    "irregular": _irregular,
    "concave": _concave,
    "rounded": _rounded,
    "blob": _blob,
    "crescent": _crescent,
}


def _pose(points: Points, rng: np.random.Generator, size: int, margin: float) -> Points:
    """Turn, stretch, scale and place an outline so that it keeps ``margin`` pixels from every edge."""
    if rng.random() < 0.7:
        angle = rng.uniform(0, 2 * np.pi)
        cos, sin = np.cos(angle), np.sin(angle)
        points = points @ np.array([[cos, -sin], [sin, cos]])
    if rng.random() < 0.3:
        points = points * rng.uniform(0.6, 1.0, 2)
    points = points - points.min(axis=0)
    points = points / points.max()
    room = size - 1 - 2 * margin
    points = points * (room * rng.uniform(0.28, 1.0))
    corner: Points = margin + rng.uniform(0, 1, 2) * (room - points.max(axis=0))
    return points + corner


def _joined(points: Points) -> Points:
    """The closed polyline, one vertex past its start: pillow rounds only the corners inside a polyline."""
    return np.concatenate([points, points[:2]])


def _strokes(points: Points, rng: np.random.Generator, gapped: bool, stroke_width: float) -> list[Points]:
    """The polylines that draw a closed outline, with one to three gaps in it if ``gapped``."""
    closed = np.concatenate([points, points[:1]])
    if not gapped:
        return [_joined(points)]
    steps = np.linalg.norm(np.diff(closed, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    perimeter = along[-1]
    # A stroke ends in half its width beyond the polyline: without that much more, a gap would be closed by its ends.
    longest = min(0.06 * perimeter, 14.0 + stroke_width)
    gaps: list[tuple[float, float]] = []
    first = rng.uniform(0, perimeter)
    for number in range(rng.integers(1, 4)):
        start = 0.0 if number == 0 else rng.uniform(0, perimeter)
        length = min(stroke_width + rng.uniform(1.0, max(longest, 1.5)), 0.25 * perimeter)
        gaps.append((start, start + length))
    # Positions count from the first gap on, so the drawn runs lie between one gap's end and the next one's start.
    twice = np.concatenate([along[:-1], along + perimeter])
    vertices = np.concatenate([points, closed])
    runs: list[Points] = []
    end = 0.0
    for start, stop in [*sorted(gaps), (perimeter, perimeter)]:
        if start > end:
            lo, hi = first + end, first + start
            between = vertices[(twice > lo) & (twice < hi)]
            tips = [np.interp([at], twice, vertices[:, axis]) for at in (lo, hi) for axis in (0, 1)]
            ends = np.concatenate(tips).reshape(2, 2)
            runs.append(np.concatenate([ends[:1], between, ends[1:]]))
        end = max(end, stop)
    return runs


def _coverage(
    points: Points, strokes: list[Points], size: int, stroke_width: float, scale: int
) -> tuple[Image.Image, Image.Image]:
    """Ink and fill coverage, two "L" images of ``size``, rendered at ``scale`` times the size."""
    canvas = (size * scale, size * scale)
    width = max(1, round(stroke_width * scale))
    joint = "curve" if width > 2 else None
    offset = (scale - 1) / 2  # pixel centres of the small image, in pixels of the large one

    def place(polyline: Points) -> list[tuple[float, float]]:
        return [(x, y) for x, y in (polyline * scale + offset).tolist()]

    ink = Image.new("L", canvas, 0)
    pen = ImageDraw.Draw(ink)
    for stroke in strokes:
        pen.line(place(stroke), fill=255, width=width, joint=joint)
    fill = ink.copy()
    pen = ImageDraw.Draw(fill)
    pen.polygon(place(points), fill=255)
    pen.line(place(_joined(points)), fill=255, width=width, joint=joint)
    if scale > 1:
        return ink.reduce(scale), fill.reduce(scale)
    return ink, fill


def _random_color(rng: np.random.Generator, config: DrawingConfig) -> tuple[int, int, int]:
    if config.palette:
        return config.palette[rng.integers(len(config.palette))]
    if rng.random() < config.random_color:
        red, green, blue = rng.integers(0, 256, 3).tolist()
    elif rng.random() < 0.5:
        red, green, blue = _CSS_COLORS[rng.integers(len(_CSS_COLORS))].tolist()
    else:
        red, green, blue = (rng.integers(0, 2, 3) * 255).tolist()
    return red, green, blue


def draw(
    rng: np.random.Generator,
    size: int,
    config: DrawingConfig | None = None,
    *,
    shape: str | None = None,
    color: tuple[int, int, int] | None = None,
) -> Drawing:
    """Draw one outline and its filled counterpart.

    Args:
        rng: the only source of randomness.
        size: height and width in pixels, at least 16.
        config: how varied; the default is the training mix.
        shape: a key of ``SHAPES``; random if None.
        color: the fill; random if None.

    Raises:
        ValueError: ``size`` under 16 or an unknown ``shape``.
    """
    if size < 16:
        raise ValueError(f"size must be at least 16 pixels, got {size}")
    config = config or DrawingConfig()
    name = shape if shape is not None else str(rng.choice(list(SHAPES)))
    if name not in SHAPES:
        raise ValueError(f"unknown shape {name!r}; known: {', '.join(SHAPES)}")
    color = color if color is not None else _random_color(rng, config)

    antialiased = rng.random() < config.antialiased
    widest = max(2.0, config.max_stroke * size)
    # Log-uniform: thin strokes are the common case, and the hard one.
    stroke_width = float(np.exp(rng.uniform(np.log(0.6 if antialiased else 0.75), np.log(widest))))
    if not antialiased:
        stroke_width = float(max(1, round(stroke_width)))
    points = _pose(SHAPES[name](rng), rng, size, margin=stroke_width / 2 + 1)
    strokes = _strokes(points, rng, rng.random() < config.gapped, stroke_width)
    ink, fill = _coverage(points, strokes, size, stroke_width, SUPERSAMPLING if antialiased else 1)

    paper_level, ink_level = (255.0, 0.0)
    if rng.random() < config.tinted:
        paper_level, ink_level = rng.uniform(236, 255), rng.uniform(0, 110)
    page = paper_level + (ink_level - paper_level) / 255.0 * np.asarray(ink, dtype=np.float32)[..., None]
    page = np.repeat(page, 3, axis=2)
    if rng.random() < config.noisy:
        page = page + rng.normal(0, rng.uniform(2, 14), page.shape)
    alpha = np.asarray(fill, dtype=np.float32)[..., None] / 255.0
    colored = 255.0 + (np.array(color, dtype=np.float32) - 255.0) * alpha
    return Drawing(
        shape=name,
        color=color,
        image=np.clip(np.rint(page), 0, 255).astype(np.uint8),
        colored=np.rint(colored).astype(np.uint8),
    )
