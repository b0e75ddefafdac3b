"""Ink of drawings on white, colored, uneven and dark paper."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from polyexport.imaging.ink import find_ink, page_is_dark
from polyexport.imaging.paper import flattened

Plane = NDArray[np.uint8]

LEVELS = np.tile(np.array([255, 255, 255, 64, 0, 0, 0, 0, 128, 255, 255, 255], np.uint8), (12, 2))
"""Coverage of an upright stroke with smooth edges, as gray on white."""


def gray(plane: Plane) -> Plane:
    return np.repeat(plane[..., None], 3, axis=2)


def test_black_on_white_keeps_its_exact_coverage() -> None:
    ink = find_ink(gray(LEVELS))
    assert ink is not None
    assert (ink.coverage == 255 - LEVELS).all()


def test_smooth_edges_that_reach_far_are_exact_too() -> None:
    levels = np.tile(LEVELS, (5, 1))
    for row in (0, 1):
        levels[row::5, 2::12] = levels[row::5, 9::12] = 252
    ink = find_ink(gray(levels))
    assert ink is not None
    assert (ink.coverage == 255 - levels).all()


@pytest.mark.parametrize("quality", [60, 75, 90])
def test_ringing_of_jpeg_is_no_ink(quality: int) -> None:
    levels = np.tile(np.array([255] * 12 + [96] + [0] * 6 + [160] + [255] * 12, np.uint8), (96, 3))
    data = io.BytesIO()
    Image.fromarray(gray(levels)).save(data, "JPEG", quality=quality)
    ink = find_ink(np.asarray(Image.open(data)))
    assert ink is not None
    assert not ink.coverage[levels == 255].any()
    assert (ink.coverage[levels == 0] == 255).all()


@pytest.mark.parametrize("color", [(255, 255, 0), (0, 160, 255), (200, 120, 220), (128, 128, 128)])
def test_colored_and_pale_ink_counts_in_full(color: tuple[int, int, int]) -> None:
    share = (255 - LEVELS[..., None]) / 255
    ink = find_ink(np.rint(255 + (np.array(color) - 255) * share).astype(np.uint8))
    assert ink is not None
    assert np.abs(ink.coverage.astype(int) - (255 - LEVELS)).max() <= 2


@pytest.mark.parametrize("color", [(255, 192, 203), (192, 192, 192), (215, 215, 215), (255, 255, 120)])
def test_pale_ink_on_a_large_page_keeps_its_exact_coverage(color: tuple[int, int, int]) -> None:
    y, x = np.mgrid[:192, :192]
    share = np.clip(6.5 - np.abs(np.hypot(y - 96, x - 96) - 60), 0, 1)[..., None]
    ink = find_ink(np.rint(255 + (np.array(color) - 255) * share).astype(np.uint8))
    assert ink is not None
    assert np.abs(ink.coverage - 255 * share[..., 0]).max() <= 255 / (255 - min(color))


def test_uneven_light_and_warm_paper_are_no_ink() -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:200, :240]
    light = (150 + 90 * x / 240 - 30 * y / 200)[..., None] * np.array([1, 0.96, 0.88])
    light[60:66, 30:200] *= 0.15
    ink = find_ink(np.clip(light + rng.normal(0, 3, light.shape), 0, 255).astype(np.uint8))
    assert ink is not None
    assert (ink.coverage[61:65, 34:196] >= 240).all()
    assert not ink.coverage[:55].any()
    assert not ink.coverage[72:].any()


def test_pencil_covers_in_full_where_it_is_pale() -> None:
    rng = np.random.default_rng(0)
    page = np.full((100, 100), 245.0)
    page[40:52] = 245 * (1 - rng.uniform(0.4, 0.9, (12, 100)))
    ink = find_ink(gray(np.clip(page + rng.normal(0, 2, page.shape), 0, 255).astype(np.uint8)))
    assert ink is not None
    assert ink.coverage[42:50].mean() > 215
    assert not ink.coverage[:38].any()


@pytest.mark.parametrize("level", [0, 40, 128, 250, 255])
def test_a_page_of_one_tone_has_no_ink(level: int) -> None:
    page = np.full((40, 50, 3), level, np.uint8)
    assert find_ink(page) is None
    noisy = np.clip(page + np.random.default_rng(0).normal(0, 4, page.shape), 0, 255).astype(np.uint8)
    assert find_ink(noisy) is None


def test_light_lines_on_dark_paper_are_recognized() -> None:
    assert page_is_dark(255 - gray(LEVELS))
    assert not page_is_dark(gray(LEVELS))
    ink = np.zeros((40, 40, 1))
    ink[10:14] = 1
    for paper in ((90, 200, 90), (255, 90, 90), (120, 130, 255), (255, 240, 150)):
        assert not page_is_dark(np.rint(np.array(paper) * (1 - ink)).astype(np.uint8)), paper
    for paper in ((30, 60, 160), (20, 80, 50), (90, 0, 0)):
        assert page_is_dark(np.rint(np.array(paper) * (1 - ink) + 255 * ink).astype(np.uint8)), paper
    framed = np.full((40, 40, 3), 255, np.uint8)
    framed[:2] = framed[-2:] = framed[:, :2] = framed[:, -2:] = 0  # an outline along the page's edge
    assert not page_is_dark(framed)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**32 - 1), st.lists(st.integers(0, 255), min_size=1))
def test_any_picture_is_measured(height: int, width: int, seed: int, levels: list[int]) -> None:
    pixels = np.random.default_rng(seed).choice(np.array(levels, np.uint8), (height, width, 3))
    ink = find_ink(pixels)
    assert ink is None or ink.coverage.shape == (height, width)
    assert flattened(pixels).shape == (height, width)
    assert page_is_dark(pixels) in (True, False)
