"""Rendering of outlines to pixels: coverage by ink and by fill, and the inked paper."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from polyexport.data.drawing_config import DrawingConfig
from polyexport.data.geometry import joined
from polyexport.data.outlines import Points

__all__ = ["all_reachable", "coverage", "inked_paper"]


def coverage(
    outlines: list[Points], strokes: list[Points], size: int, stroke_width: float, scale: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Render outlines and the strokes that draw them.

    Args:
        outlines: Closed outlines, filled.
        strokes: Polylines, drawn with ink.
        size: Height and width of the result, pixels.
        stroke_width: Width of the ink, pixels of the result.
        scale: Supersampling: the coverage is rendered at this multiple of ``size`` and box-filtered down.

    Returns:
        Coverage by ink and coverage by ink and fill together, uint8 [size, size] both; 255 is full coverage.
    """
    canvas = (size * scale, size * scale)
    width = max(1, round(stroke_width * scale))
    joint = "curve" if width > 2 else None
    offset = (scale - 1) / 2  # pixel centers of the small image, in pixels of the large one

    def scaled(polyline: Points) -> list[tuple[float, float]]:
        return [(x, y) for x, y in (polyline * scale + offset).tolist()]

    ink = Image.new("L", canvas, 0)
    pen = ImageDraw.Draw(ink)
    for stroke in strokes:
        pen.line(scaled(stroke), fill=255, width=width, joint=joint)
    fill = ink.copy()
    pen = ImageDraw.Draw(fill)
    for outline in outlines:
        pen.polygon(scaled(outline), fill=255)
        pen.line(scaled(joined(outline)), fill=255, width=width, joint=joint)
    if scale > 1:
        ink, fill = ink.reduce(scale), fill.reduce(scale)
    return np.asarray(ink), np.asarray(fill)


def all_reachable(background: NDArray[np.bool_]) -> bool:
    """Whether every True pixel of [H, W] is connected to the image's border through edges of True pixels."""
    reached = np.zeros_like(background)
    reached[[0, -1]] = reached[:, [0, -1]] = True
    reached &= background
    count = -1
    while (now := int(reached.sum())) != count:
        count = now
        reached = _spread_along_rows(background, reached)
        reached = _spread_along_rows(background.T, reached.T).T
    return count == int(background.sum())


def _spread_along_rows(background: NDArray[np.bool_], reached: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Extend every reached pixel of [H, W] to the whole horizontal run of background pixels that it lies in."""
    starts = background.copy()
    starts[:, 1:] &= ~background[:, :-1]
    run = np.cumsum(starts.ravel()) * background.ravel()  # number of the pixel's run; 0: not background
    hit = np.bincount(run, weights=reached.ravel()) > 0
    hit[0] = False
    spread: NDArray[np.bool_] = hit[run].reshape(background.shape)
    return spread


def inked_paper(ink: NDArray[np.uint8], rng: np.random.Generator, config: DrawingConfig) -> NDArray[np.uint8]:
    """Turn coverage by ink, uint8 [H, W], into a drawing, uint8 [H, W, 3], with tint, noise and JPEG artifacts."""
    paper_level, ink_level = (255.0, 0.0)
    if rng.random() < config.tinted:
        paper_level, ink_level = rng.uniform(236, 255), rng.uniform(0, 110)
    levels = paper_level + (ink_level - paper_level) / 255.0 * ink.astype(np.float32)[..., None]
    levels = np.repeat(levels, 3, axis=2)
    if rng.random() < config.noisy:
        levels += rng.normal(0, rng.uniform(2, 14), levels.shape)
        dust = rng.random(ink.shape) < np.exp(rng.uniform(np.log(5e-4), np.log(1e-2)))
        levels[dust] = rng.uniform(0, 255, (int(dust.sum()), 1))
    image: NDArray[np.uint8] = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    if rng.random() < config.jpeg:
        with io.BytesIO() as compressed:
            Image.fromarray(image).save(compressed, "JPEG", quality=int(rng.integers(40, 96)))
            with Image.open(compressed) as decoded:
                image = np.asarray(decoded)
    return image
