"""Paper, ink and camera: how the ink of a sketch becomes the picture that a user has."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from polyexport.data.sketch_config import SketchConfig
from polyexport.data.sketches.strokes import smooth_noise

__all__ = ["inked_page", "photo_of_something", "photographed", "textured_paper"]

Levels = NDArray[np.float32]
"""float32 [size, size, 3], 0 to 255."""


def textured_paper(rng: np.random.Generator, size: int, config: SketchConfig) -> Levels:
    """Draw paper with some of: a color cast, uneven light, a shadow, folds, ruled or squared lines, grain."""
    base = rng.uniform(215, 255) - np.abs(rng.normal(0, [4, 6, 14]))
    if rng.random() < 0.25:
        base = rng.uniform(120, 235) * np.exp(rng.normal(0, 0.06, 3))
    light = np.ones((size, size), dtype=np.float32)
    axis = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    y, x = axis[:, None], axis[None, :]
    if rng.random() < 0.6:
        angle = rng.uniform(0, 2 * np.pi)
        light += np.float32(rng.uniform(0, 0.35)) * (np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y)
    if rng.random() < 0.5:
        light += np.float32(rng.uniform(0.02, 0.2)) * smooth_noise(rng, size, int(rng.integers(2, 7)))
    if rng.random() < 0.25:
        angle, place, soft = rng.uniform(0, 2 * np.pi), rng.uniform(-0.4, 0.4), rng.uniform(0.01, 0.2)
        distance = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y - np.float32(place)
        light *= 1 - np.float32(rng.uniform(0.08, 0.45)) / (1 + np.exp(-(distance / np.float32(soft)).clip(-30, 30)))
    if rng.random() < 0.2:
        for _ in range(int(rng.integers(1, 3))):
            along = x if rng.random() < 0.5 else y
            distance = (along - np.float32(rng.uniform(-0.4, 0.4))) / np.float32(rng.uniform(0.003, 0.02))
            light *= 1 + np.float32(rng.uniform(-0.2, 0.12)) * np.exp(-(distance**2))
    levels = light[..., None] * base.astype(np.float32)
    if rng.random() < config.ruled:
        _ruled(rng, levels)
    if rng.random() < 0.4:
        grain = rng.normal(0, rng.uniform(0.5, 5), (size, size)).astype(np.float32)
        levels += grain[..., None]
    return np.clip(levels, 0, 255, out=levels)


def photo_of_something(rng: np.random.Generator, size: int) -> Levels:
    """Draw what looks like a photo from afar and shows no drawing: blurred colors, or textured things before others."""
    if rng.random() < 0.4:
        noise = np.stack([smooth_noise(rng, size, int(rng.integers(2, 12))) for _ in range(3)], axis=-1)
        return np.asarray((rng.uniform(60, 200, 3) + rng.uniform(20, 90) * noise).clip(0, 255), dtype=np.float32)
    levels = _texture(rng, size)
    for _ in range(int(rng.integers(2, 9))):
        mask = Image.new("L", (size, size), 0)
        x, y, width, height = rng.uniform(-0.2, 1, 4) * size
        corners = (x, y, x + abs(width) + 2, y + abs(height) + 2)
        if rng.random() < 0.5:
            ImageDraw.Draw(mask).ellipse(corners, fill=255)
        else:
            points = rng.uniform(-0.2, 1.2, (int(rng.integers(3, 8)), 2)) * size
            ImageDraw.Draw(mask).polygon([(px, py) for px, py in points.tolist()], fill=255)
        mask = mask.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 0.02)) * size))
        share = np.asarray(mask, dtype=np.float32)[..., None] / np.float32(255)
        levels += share * (_texture(rng, size) - levels)
    return levels


def _texture(rng: np.random.Generator, size: int) -> Levels:
    """Draw a surface of one color with details of every size."""
    noise = np.zeros((size, size), dtype=np.float32)
    cells, weight, decay = 2, 1.0, rng.uniform(0.4, 0.9)
    while cells <= size // 2:
        noise += np.float32(weight) * smooth_noise(rng, size, cells)
        cells, weight = 2 * cells, weight * decay
    tone = rng.uniform(20, 235) + rng.normal(0, rng.choice([6, 60]), 3)
    tones = tone + rng.uniform(5, 60) * noise[..., None] * rng.uniform(0.6, 1.2, 3)
    return np.asarray(tones.clip(0, 255), dtype=np.float32)


def _ruled(rng: np.random.Generator, levels: Levels) -> None:
    """Draw ruled or squared lines on paper, in place."""
    size = len(levels)
    period = max(5.0, float(rng.uniform(0.04, 0.14)) * size)
    thickness = max(1, round(size * float(rng.uniform(0.002, 0.008))))
    color = np.array([(0.75, 0.85, 1.0), (0.85, 0.85, 0.85), (1.0, 0.75, 0.75)][int(rng.integers(3))], dtype=np.float32)
    strength = np.float32(rng.uniform(0.3, 1.0))
    factor = 1 - strength * (1 - color)
    for start in np.arange(float(rng.uniform(0, period)), size, period):
        levels[int(start) : int(start) + thickness] *= factor
    if rng.random() < 0.5:
        for start in np.arange(float(rng.uniform(0, period)), size, period):
            levels[:, int(start) : int(start) + thickness] *= factor


def inked_page(rng: np.random.Generator, coverage: NDArray[np.float32], paper: Levels, config: SketchConfig) -> Levels:
    """Put ink on paper.

    Args:
        rng: Source of randomness.
        coverage: How much of each pixel the ink covers, float32 [size, size], 0 to 1.
        paper: The paper.
        config: Probabilities of pencil and colored ink.
    """
    size = len(coverage)
    if rng.random() < config.pencil:
        cells = max(4, int(size / rng.uniform(1.5, 6)))
        grain = rng.normal(0, rng.uniform(0.05, 0.3), (size, size)).astype(np.float32)
        pressure = rng.uniform(0.5, 0.85) + rng.uniform(0.05, 0.25) * smooth_noise(rng, size, min(cells, size // 2))
        pressure = pressure + np.float32(rng.uniform(0, 0.15)) * smooth_noise(rng, size, 6) + grain
        coverage = coverage * np.asarray(pressure.clip(0.25, 1), dtype=np.float32)
        ink = np.full(3, rng.uniform(0, 70))
    elif rng.random() < config.colored_ink:
        ink = rng.uniform(0, 255, 3)
        ink[int(rng.integers(3))] *= rng.uniform(0, 0.4)  # at least one channel that differs from paper
        ink = np.minimum(ink, paper.mean(axis=(0, 1), dtype=np.float64))
    else:
        ink = np.repeat(rng.choice([0.0, rng.uniform(0, 110)]), 3)
    full = ink.astype(np.float32) * (paper / np.float32(255))  # what is under ink that covers it wholly
    page: Levels = np.asarray(paper + coverage[..., None] * (full - paper), dtype=np.float32)
    return page


def photographed(rng: np.random.Generator, levels: Levels) -> NDArray[np.uint8]:
    """Photograph or scan a page: some of blur, noise, JPEG and WebP; uint8 [size, size, 3]."""
    size = len(levels)
    image = Image.fromarray(np.rint(levels.clip(0, 255)).astype(np.uint8))
    if rng.random() < 0.4:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.0)) * max(1.0, size / 256)))
    if rng.random() < 0.15:
        smaller = max(16, round(size / rng.uniform(1.3, 2.2)))
        image = image.resize((smaller, smaller), Image.Resampling.BOX)
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    pixels: NDArray[np.uint8] = np.asarray(image)
    if rng.random() < 0.6:
        noise = rng.normal(0, 1, (size, size, 1 if rng.random() < 0.5 else 3)).astype(np.float32)
        noisy = pixels + noise * np.float32(np.exp(rng.uniform(np.log(1), np.log(14))))
        if rng.random() < 0.3:
            dust = rng.random((size, size)) < np.exp(rng.uniform(np.log(5e-4), np.log(1e-2)))
            noisy[dust] = rng.uniform(0, 255, (int(dust.sum()), 1))
        pixels = np.rint(noisy.clip(0, 255)).astype(np.uint8)
    if rng.random() < 0.6:
        kind, quality = ("JPEG" if rng.random() < 0.75 else "WEBP"), int(rng.integers(35, 96))
        with io.BytesIO() as compressed:
            Image.fromarray(pixels).save(compressed, kind, quality=quality)
            with Image.open(compressed) as decoded:
                pixels = np.asarray(decoded.convert("RGB"))
    return pixels
