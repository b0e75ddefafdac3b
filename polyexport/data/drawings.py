"""Synthetic outline drawings and their filled counterparts: numpy and pillow, no torch.

``draw(rng, size)`` makes one pair. The generator's state alone decides the result, so one seed gives one data set.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from polyexport.data.vocabulary import VOCABULARY

__all__ = ["SHAPES", "SPLITS", "Drawing", "DrawingConfig", "draw", "random_color"]

Points = NDArray[np.float64]
"""[K, 2] x, y vertices of a closed outline, without a repeated last vertex."""

SUPERSAMPLING = 4
"""Anti-aliased drawings are rendered at this multiple of their size and box-filtered down."""

_TRIES = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawingConfig:
    """How varied the drawings are. Every field is a probability in [0, 1] unless it says otherwise."""

    antialiased: float = 0.5
    """Smooth strokes of any width; the others are aliased, a whole number of pixels wide."""

    gapped: float = 0.3
    """Outlines broken in one to three places."""

    longest_gap: float = 0.06
    """A gap's greatest length as a fraction of the outline's; it is 14 pixels at most, whatever the outline."""

    noisy: float = 0.15
    """Gaussian noise on the input, standard deviation 2 to 14 of 255, and dust: up to 1 % of the pixels at any grey."""

    jpeg: float = 0.1
    """Compressed and decoded again, quality 40 to 95."""

    tinted: float = 0.2
    """Grey ink on slightly off-white paper in place of black on white."""

    multiple: float = 0.15
    """Two to four shapes, apart from each other, in one drawing."""

    random_color: float = 0.5
    """Any 24-bit colour; of the others, half are the colours people name and half have channels of 0 or 255 alone,
    which a Tanh output finds hardest."""

    min_stroke: float = 0.0
    """Narrowest stroke, as a fraction of the image size; no stroke is thinner than a hairline of 0.6 pixels."""

    max_stroke: float = 0.1
    """Widest stroke, as a fraction of the image size; 2 pixels are always allowed."""

    shapes: tuple[str, ...] = ()
    """Keys of ``SHAPES``; all of them if empty."""

    palette: tuple[tuple[int, int, int], ...] = ()
    """If not empty, the only fill colours."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float | int) and not 0 <= value <= 1:
                raise ValueError(f"{field.name} must be in [0, 1], got {value}")
        if self.min_stroke > self.max_stroke:
            raise ValueError(f"min_stroke {self.min_stroke} is above max_stroke {self.max_stroke}")
        unknown = set(self.shapes) - set(SHAPES)
        if unknown:
            raise ValueError(f"unknown shapes {', '.join(sorted(unknown))}; known: {', '.join(SHAPES)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """One training pair."""

    shape: str
    """A key of ``SHAPES``, or ``multi`` for several in one drawing."""

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


def _ellipse(rng: np.random.Generator) -> Points:
    return _polar(np.linspace(0, 2 * np.pi, 72, endpoint=False), 1.0) * [1.0, rng.uniform(0.35, 0.85)]


def _notched(rng: np.random.Generator) -> Points:
    """A round outline with one or two deep notches cut towards its middle, like a bean or a clover leaf."""
    angles = np.linspace(-np.pi, np.pi, 96, endpoint=False)
    radii = np.ones_like(angles)
    count = int(rng.integers(1, 3))
    for at in rng.uniform(-0.2, 0.2) + np.arange(count) * 2 * np.pi / count:
        away = np.abs((angles - at + np.pi) % (2 * np.pi) - np.pi) / rng.uniform(0.35, 0.8)
        radii -= rng.uniform(0.45, 0.8) * np.where(away < 1, 0.5 + 0.5 * np.cos(np.pi * np.minimum(away, 1)), 0)
    return _polar(angles, np.maximum(radii, 0.12))


def _slotted(rng: np.random.Generator) -> Points:
    """A block with one or two deep slots from one side, like the letters U and E."""
    slots = int(rng.integers(1, 3))
    edges = np.cumsum(rng.uniform(0.6, 1.4, 2 * slots + 1))  # leg, slot, leg, ...
    edges = np.concatenate([[0.0], edges]) / edges[-1]
    height = rng.uniform(0.6, 1.3)
    points = [(0.0, height), (0.0, 0.0)]
    for left, right in zip(edges[1:-1:2], edges[2:-1:2], strict=True):
        depth = rng.uniform(0.5, 0.85) * height
        points += [(left, 0.0), (left, depth), (right, depth), (right, 0.0)]
    return np.array([*points, (1.0, 0.0), (1.0, height)])


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
    "ellipse": _ellipse,
    "crescent": _crescent,
    "notched": _notched,
    "slotted": _slotted,
}

_POCKETS = ("crescent", "notched", "slotted")
"""Shapes with a deep pocket that lies outside, though it is nearly surrounded."""


def _pose(points: Points, rng: np.random.Generator, cell: tuple[float, float, float, float], margin: float) -> Points:
    """Turn, stretch, scale and place an outline so that it keeps ``margin`` pixels from every edge of its cell.

    The cell is x, y, width, height in pixels.
    """
    if rng.random() < 0.7:
        angle = rng.uniform(0, 2 * np.pi)
        cos, sin = np.cos(angle), np.sin(angle)
        points = points @ np.array([[cos, -sin], [sin, cos]])
    if rng.random() < 0.3:
        points = points * rng.uniform(0.6, 1.0, 2)
    points = points - points.min(axis=0)
    room = np.array(cell[2:]) - 1 - 2 * margin
    points = points * ((room / points.max(axis=0)).min() * rng.uniform(0.28, 1.0))
    corner: Points = np.array(cell[:2]) + margin + rng.uniform(0, 1, 2) * (room - points.max(axis=0))
    return points + corner


def _cells(rng: np.random.Generator, size: int, count: int) -> list[tuple[float, float, float, float]]:
    """``count`` rectangles, 1 to 4, that share the image without overlap: x, y, width, height in pixels."""
    if count == 1:
        return [(0.0, 0.0, float(size), float(size))]
    x, y = np.rint(rng.uniform(0.4, 0.6, 2) * size).tolist()
    if count == 2:
        halves = [(0.0, 0.0, x, float(size)), (x, 0.0, size - x, float(size))]
        return halves if rng.random() < 0.5 else [(top, left, height, width) for left, top, width, height in halves]
    quarters = [(0.0, 0.0, x, y), (x, 0.0, size - x, y), (0.0, y, x, size - y), (x, y, size - x, size - y)]
    return [quarters[i] for i in sorted(rng.permutation(4)[:count])]


def _joined(points: Points) -> Points:
    """The closed polyline, one vertex past its start: pillow rounds only the corners inside a polyline."""
    return np.concatenate([points, points[:2]])


def _broken(points: Points, rng: np.random.Generator, longest_gap: float, stroke_width: float) -> list[Points]:
    """The polylines that draw an outline with one to three gaps in it."""
    closed = np.concatenate([points, points[:1]])
    steps = np.linalg.norm(np.diff(closed, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    perimeter = along[-1]
    # A stroke ends in half its width beyond the polyline: without that much more, a gap would be closed by its ends.
    longest = min(longest_gap * perimeter, 14.0 + stroke_width)
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
    outlines: list[Points], strokes: list[Points], size: int, stroke_width: float, scale: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Ink and fill coverage, uint8 [size, size] both, rendered at ``scale`` times the size."""
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
    for outline in outlines:
        pen.polygon(place(outline), fill=255)
        pen.line(place(_joined(outline)), fill=255, width=width, joint=joint)
    if scale > 1:
        ink, fill = ink.reduce(scale), fill.reduce(scale)
    return np.asarray(ink), np.asarray(fill)


def _all_reachable(paper: NDArray[np.bool_]) -> bool:
    """Whether every True pixel of [H, W] is connected to the image's border through edges of True pixels."""
    reached = np.zeros_like(paper)
    reached[[0, -1]] = reached[:, [0, -1]] = True
    reached &= paper

    def spread(paper: NDArray[np.bool_], reached: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """One reached pixel reaches its whole horizontal run."""
        starts = paper.copy()
        starts[:, 1:] &= ~paper[:, :-1]
        run = np.cumsum(starts.ravel()) * paper.ravel()  # 0: no paper
        hit = np.bincount(run, weights=reached.ravel()) > 0
        hit[0] = False
        spread_out: NDArray[np.bool_] = hit[run].reshape(paper.shape)
        return spread_out

    count = -1
    while (now := int(reached.sum())) != count:
        count = now
        reached = spread(paper, reached)
        reached = spread(paper.T, reached.T).T
    return count == int(paper.sum())


def random_color(rng: np.random.Generator, config: DrawingConfig) -> tuple[int, int, int]:
    """A fill colour, sRGB 0 to 255."""
    if config.palette:
        return config.palette[rng.integers(len(config.palette))]
    if rng.random() < config.random_color:
        red, green, blue = rng.integers(0, 256, 3).tolist()
    elif rng.random() < 0.5:
        red, green, blue = VOCABULARY[rng.integers(len(VOCABULARY))][1]
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
    if shape is not None and shape not in SHAPES:
        raise ValueError(f"unknown shape {shape!r}; known: {', '.join(SHAPES)}")
    color = color if color is not None else random_color(rng, config)
    count = int(rng.integers(2, 5)) if rng.random() < config.multiple else 1
    antialiased = rng.random() < config.antialiased
    gapped = rng.random() < config.gapped

    for _ in range(_TRIES):
        names = [shape or str(rng.choice(config.shapes or tuple(SHAPES))) for _ in range(count)]
        # Log-uniform: thin strokes are the common case, and the hard one.
        thinnest = max(0.6 if antialiased else 0.75, config.min_stroke * size)
        widest = max(2.0, config.max_stroke * size / (1 if count == 1 else 2))
        stroke_width = float(np.exp(rng.uniform(np.log(min(thinnest, widest)), np.log(widest))))
        if not antialiased:
            stroke_width = float(max(1, round(stroke_width)))
        outlines = [
            _pose(SHAPES[name](rng), rng, cell, margin=stroke_width / 2 + 1)
            for name, cell in zip(names, _cells(rng, size, count), strict=True)
        ]
        strokes = [
            stroke
            for outline in outlines
            for stroke in (_broken(outline, rng, config.longest_gap, stroke_width) if gapped else [_joined(outline)])
        ]
        ink, fill = _coverage(outlines, strokes, size, stroke_width, SUPERSAMPLING if antialiased else 1)
        # A pocket whose mouth the stroke closes would count as inside for anyone who looks: draw another.
        if not any(name in _POCKETS for name in names) or _all_reachable(fill == 0):
            break

    alpha = fill.astype(np.float32)[..., None] / 255.0
    colored = 255.0 + (np.array(color, dtype=np.float32) - 255.0) * alpha
    return Drawing(
        shape=names[0] if count == 1 else "multi",
        color=color,
        image=_page(ink, rng, config),
        colored=np.rint(colored).astype(np.uint8),
    )


def _page(ink: NDArray[np.uint8], rng: np.random.Generator, config: DrawingConfig) -> NDArray[np.uint8]:
    """Ink coverage [H, W] -> the drawing as it reaches a user: uint8 [H, W, 3]."""
    paper_level, ink_level = (255.0, 0.0)
    if rng.random() < config.tinted:
        paper_level, ink_level = rng.uniform(236, 255), rng.uniform(0, 110)
    page = paper_level + (ink_level - paper_level) / 255.0 * ink.astype(np.float32)[..., None]
    page = np.repeat(page, 3, axis=2)
    if rng.random() < config.noisy:
        page += rng.normal(0, rng.uniform(2, 14), page.shape)
        dust = rng.random(ink.shape) < np.exp(rng.uniform(np.log(5e-4), np.log(1e-2)))
        page[dust] = rng.uniform(0, 255, (int(dust.sum()), 1))
    image: NDArray[np.uint8] = np.clip(np.rint(page), 0, 255).astype(np.uint8)
    if rng.random() < config.jpeg:
        with io.BytesIO() as compressed:
            Image.fromarray(image).save(compressed, "JPEG", quality=int(rng.integers(40, 96)))
            with Image.open(compressed) as decoded:
                image = np.asarray(decoded)
    return image


_UNSPOILT = DrawingConfig(gapped=0, noisy=0, jpeg=0, tinted=0, multiple=0, max_stroke=0.05, random_color=1)
_SIMPLE = tuple(name for name in SHAPES if name not in _POCKETS)

SPLITS: dict[str, DrawingConfig] = {
    "clean": replace(_UNSPOILT, max_stroke=0.03, shapes=_SIMPLE),
    "thick": replace(_UNSPOILT, antialiased=1, min_stroke=0.04, max_stroke=0.1, shapes=_SIMPLE),
    "gapped": replace(_UNSPOILT, gapped=1, shapes=_SIMPLE),
    "noisy": replace(_UNSPOILT, noisy=1, jpeg=0.5, tinted=0.5, shapes=_SIMPLE),
    "curved": replace(_UNSPOILT, shapes=("circle", "ellipse", "rounded", "blob")),
    "multi": replace(_UNSPOILT, multiple=1, shapes=_SIMPLE),
    "pockets": replace(_UNSPOILT, shapes=_POCKETS),
}
"""What `polyexport dataset` writes and `polyexport evaluate` is run on: one difficulty each."""
