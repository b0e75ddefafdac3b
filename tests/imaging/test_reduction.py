"""Thin lines survive a reduction, and noise does not become ink."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from polyexport.imaging.ink import find_ink
from polyexport.imaging.reduction import reduced, sketched


@pytest.mark.parametrize(("side", "size"), [(512, 128), (700, 128), (1600, 64)])
def test_a_line_one_pixel_wide_survives(side: int, size: int) -> None:
    page = Image.new("RGB", (side, side), "white")
    ImageDraw.Draw(page).line([(0, side * 0.3), (side, side * 0.6)], fill="black", width=1)
    pixels = np.asarray(page)
    small = reduced(pixels, (size, size), find_ink(pixels))
    assert small.shape == (size, size, 3)
    assert small.min(axis=0).max() < 190  # every column of the result holds a dark pixel
    averaged = np.asarray(page.resize((size, size), Image.Resampling.LANCZOS))
    assert averaged.min(axis=0).max() > 190


def test_noise_of_paper_is_averaged() -> None:
    rng = np.random.default_rng(0)
    noisy = np.clip(200 + rng.normal(0, 8, (640, 640, 3)), 0, 255).astype(np.uint8)
    noisy[300:303, 100:500] = 20
    small = reduced(noisy, (64, 64), find_ink(noisy))
    assert small[:25].min() > 185
    assert small[28:32, 12:48].min(axis=0).max() < 110


def test_wide_strokes_keep_their_width() -> None:
    page = Image.new("RGB", (1024, 1024), "white")
    ImageDraw.Draw(page).rectangle([200, 200, 800, 800], outline="black", width=40)
    pixels = np.asarray(page)
    small = reduced(pixels, (128, 128), find_ink(pixels))
    averaged = np.asarray(page.resize((128, 128), Image.Resampling.LANCZOS))
    assert np.abs(small.astype(int) - averaged).mean() < 1


@pytest.mark.parametrize("shape", [(100, 7, 3), (33, 200), (64, 64, 3)])
def test_any_shape_is_scaled(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    size = (max(1, shape[0] // 5), max(1, shape[1] // 5))
    assert reduced(pixels, size, None).shape == (*size, *shape[2:])


@given(st.integers(9, 90), st.integers(9, 90), st.integers(1, 9), st.booleans(), st.integers(0, 2**32 - 1))
def test_a_gray_picture_is_scaled_as_each_channel_of_one_in_color(
    height: int, width: int, factor: int, inked: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    plane, other = rng.integers(0, 256, (2, height, width), np.uint8)
    ink = find_ink(np.stack([plane] * 3, axis=-1)) if inked else None
    size = -(-height // factor), -(-width // factor)
    color = reduced(np.stack([plane, other, plane], axis=-1), size, ink)
    gray = reduced(np.stack([plane] * 3, axis=-1), size, ink)
    for channel in (color[..., 0], color[..., 2], *np.moveaxis(gray, -1, 0)):
        assert np.array_equal(channel, reduced(plane, size, ink))


@pytest.mark.parametrize(("side", "size"), [(128, 64), (150, 64), (700, 64), (512, 128)])
@pytest.mark.parametrize("color", ["black", "navy"])
def test_a_sketch_has_every_line_in_full(side: int, size: int, color: str) -> None:
    page = Image.new("RGB", (side, side), "white")
    ImageDraw.Draw(page).rectangle([side * 0.2, side * 0.3, side * 0.7, side * 0.8], outline=color, width=1)
    pixels = np.asarray(page)
    ink = find_ink(pixels)
    assert ink is not None
    small = sketched(pixels, (size, size), ink)
    assert small.shape == (size, size, 3)
    line = (small == pixels.reshape(-1, 3).min(axis=0)).all(axis=2)
    assert line.any(axis=0).sum() >= 0.5 * size  # an unbroken line, as dark as the drawing's
    assert (line | (small == 255).all(axis=2)).all()
