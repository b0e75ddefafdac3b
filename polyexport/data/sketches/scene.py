"""Composition of a sketch: which subjects stand where on the page, and the lines that draw them."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polyexport.data.geometry import cells
from polyexport.data.sketch_config import SketchConfig
from polyexport.data.sketches.strokes import Stroke, bent, densified, moved
from polyexport.data.sketches.subjects import icon, letter, outline, symbol

__all__ = ["Scene", "scene"]

_STEP = 0.007
"""Distance between neighboring vertices of the strokes, as a fraction of the page's side."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """Strokes on a page, in pixels of the result."""

    strokes: list[Stroke]
    """Lines and contours of solid parts, at least one."""

    width: float
    """Width of the lines, pixels of the result."""

    beyond: float
    """Length by which the lines reach beyond the page, pixels of the result; 0 if they do not."""


def scene(rng: np.random.Generator, size: int, config: SketchConfig) -> Scene:
    """Compose the strokes of one sketch on a page of ``size`` pixels."""
    cut = rng.random() < config.cut_by_page
    count = int(rng.integers(2, 5)) if rng.random() < config.several else 1
    crowded = 1 if count == 1 else 2
    low, high = config.min_stroke * size, max(config.max_stroke * size / crowded, config.min_stroke * size)
    width = max(0.7, float(np.exp(rng.uniform(np.log(low), np.log(high)))))
    strokes: list[Stroke] = []
    if count == 1:
        strokes += _placed(rng, _subject(rng, config), size, width, _frame(rng, size, cut=cut))
    else:
        apart = rng.random() < 0.5
        for cell in cells(rng, size, count):
            frame = cell if apart else _frame(rng, size, cut=cut, smallest=0.25)
            strokes += _placed(rng, _subject(rng, config), size, width, frame)
    if rng.random() < config.open_lines:
        strokes += _open_lines(rng, size)
    strokes = [
        replace(stroke, points=densified(stroke.points, stroke.closed, _STEP * size))
        for stroke in strokes
        if np.ptp(stroke.points, axis=0).max() > 0
    ]
    if rng.random() < config.wobbly:
        strokes = bent(strokes, rng, float(rng.uniform(0.005, 0.03)) * size, float(rng.uniform(0.06, 0.25)) * size)
        if rng.random() < 0.5:
            strokes = bent(strokes, rng, 0.006 * size, 0.03 * size)
    points = np.concatenate([stroke.points for stroke in strokes])
    beyond = float(max(-points.min(), points.max() - size)) + width
    return Scene(strokes=strokes, width=width, beyond=max(0.0, beyond))


def _frame(
    rng: np.random.Generator, size: int, *, cut: bool, smallest: float = 0.35
) -> tuple[float, float, float, float]:
    """Choose a square of the page for a subject: x, y, width, height; it reaches beyond the page if ``cut``."""
    if cut:
        side = rng.uniform(0.6, 1.35) * size
        center = size / 2 + rng.choice([-1, 1], 2) * rng.uniform(0.05, 0.55, 2) * size * (rng.random(2) < 0.7)
        x, y = center - side / 2
    else:
        side = min(1.0, rng.uniform(smallest, 1.08)) * size
        x, y = rng.uniform(0, 1, 2) * (size - side)
    return float(x), float(y), float(side), float(side)


def _placed(
    rng: np.random.Generator,
    strokes: list[Stroke],
    size: int,
    width: float,
    frame: tuple[float, float, float, float],
) -> list[Stroke]:
    """Turn, mirror, stretch and scale a subject, and place it in a frame of the page."""
    draw = rng.random()
    angle = rng.normal(0, 0.12) if draw < 0.5 else rng.uniform(0, 2 * np.pi) if draw < 0.75 else 0.0
    cos, sin = np.cos(angle), np.sin(angle)
    stretch = np.diag(np.exp(rng.normal(0, 0.12, 2)))
    flip = np.diag([1.0 if rng.random() < 0.5 else -1.0, 1.0])
    strokes = moved(strokes, np.array([[cos, -sin], [sin, cos]]) @ stretch @ flip, np.zeros(2))
    points = np.concatenate([stroke.points for stroke in strokes])
    low, high = points.min(axis=0), points.max(axis=0)
    margin = width / 2 + 1
    room = max(min(frame[2], frame[3]) - 2 * margin, 0.1 * size)
    scale = room / max(float((high - low).max()), 1e-9)
    center = np.array([frame[0] + frame[2] / 2, frame[1] + frame[3] / 2])
    return moved(strokes, np.eye(2) * scale, center - scale * (low + high) / 2)


def _subject(rng: np.random.Generator, config: SketchConfig) -> list[Stroke]:
    """Draw one subject in a box of side 1 around 0, at least one stroke."""
    draw = rng.random()
    strokes: list[Stroke] = []
    if draw < config.icons:
        strokes = icon(rng)
    elif draw < config.icons + config.symbols:
        strokes = symbol(rng)
    elif draw < config.icons + config.symbols + config.letters:
        strokes = letter(rng)
    if strokes:
        return strokes
    strokes = outline(rng)  # also in place of an empty icon, which a release of its package may have
    if rng.random() < config.details:
        strokes = strokes + _details(rng, strokes[0].points)
    return strokes


def _details(rng: np.random.Generator, points: NDArray[np.float64]) -> list[Stroke]:
    """Draw lines, dots, letters or pictures around a place inside of an outline."""
    strokes: list[Stroke] = []
    for _ in range(int(rng.integers(1, 4))):
        corners = points[rng.integers(len(points), size=3)]
        place = corners.mean(axis=0) * 0.6
        scale = float(rng.uniform(0.1, 0.4))
        draw = int(rng.integers(5))
        if draw == 0:
            strokes.append(Stroke(points=points[rng.integers(len(points), size=2)] * 0.98, closed=False))
        elif draw == 1:
            angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
            circle = np.stack([np.cos(angles), np.sin(angles)], axis=1) * scale * 0.2
            strokes.append(Stroke(points=circle + place, solid=int(rng.integers(2))))
        elif draw == 2:
            strokes += moved(letter(rng), np.eye(2) * scale, place)
        elif draw == 3:
            strokes += moved(icon(rng), np.eye(2) * scale, place)
        else:
            strokes += moved(outline(rng), np.eye(2) * scale, place)
    return strokes


def _open_lines(rng: np.random.Generator, size: int) -> list[Stroke]:
    """Draw open lines anywhere on the page: straight, curved, or a group of short parallel ones."""
    strokes = []
    for _ in range(int(rng.integers(1, 5))):
        start = rng.uniform(0.03, 0.97, 2) * size
        heading = rng.uniform(0, 2 * np.pi)
        length = float(np.exp(rng.uniform(np.log(0.03), np.log(0.5)))) * size
        turns = np.cumsum(rng.normal(0, rng.choice([0.0, 0.15, 0.5]), 8))
        steps = np.stack([np.cos(heading + turns), np.sin(heading + turns)], axis=1) * length / 8
        line = np.concatenate([start[None], start + np.cumsum(steps, axis=0)])
        repeats = int(rng.integers(2, 5)) if rng.random() < 0.25 else 1
        apart = np.array([-np.sin(heading), np.cos(heading)]) * rng.uniform(0.04, 0.1) * size
        strokes += [Stroke(points=line + apart * number, closed=False) for number in range(repeats)]
    return strokes
