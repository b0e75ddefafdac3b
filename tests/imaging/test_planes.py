"""Operations on planes, each beside SciPy's, NumPy's or a definition that can be read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from polyexport.imaging.planes import (
    LabelRuns,
    averaged,
    beside,
    blurred,
    channel_means,
    counted_beside,
    darkest_channel,
    enlarged,
    gray_plane,
    histogram,
    largest,
    largest_of_blocks,
    largest_of_cells,
    looked_up,
    parts_of,
    sampled,
    smallest,
    smallest_of_blocks,
    smallest_of_cells,
    weighted_sum,
)

sides, seeds = st.integers(1, 40), st.integers(0, 2**32 - 1)


def _mask(height: int, width: int, seed: int) -> NDArray[np.bool_]:
    random = np.random.default_rng(seed)
    return random.random((height, width)) < random.uniform(0.2, 0.9)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_neighbors_end_at_the_plane_s_edge(height: int, width: int, radius: int, seed: int) -> None:
    plane = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    for y, x in np.ndindex(height, width):
        square = plane[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        assert largest(plane, radius)[y, x] == square.max()
        assert smallest(plane, radius)[y, x] == square.min()
    cross = beside(plane)
    padded = np.pad(plane, 1)
    assert (
        cross
        == np.max([padded[1:-1, 1:-1], padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]], 0)
    ).all()


@given(sides, sides, seeds)
def test_parts_are_connected_through_sides(height: int, width: int, seed: int) -> None:
    mask = _mask(height, width, seed)
    labels, count = parts_of(mask)
    expected, expected_count = ndimage.label(mask)
    assert count == expected_count
    assert ((labels > 0) == mask).all()
    assert len(np.unique(np.stack([labels[mask], expected[mask]]), axis=1).T) == count  # one label for one label


@given(sides, sides, seeds)
def test_sums_by_label_are_those_of_single_pixels(height: int, width: int, seed: int) -> None:
    mask = _mask(height, width, seed)
    labels, count = parts_of(mask)
    values = np.random.default_rng(seed).random((height, width), np.float32)
    runs, flat = LabelRuns.of(labels, count + 1), labels.ravel()
    assert runs.areas() == pytest.approx(np.bincount(flat, minlength=count + 1))
    assert runs.sums(values) == pytest.approx(np.bincount(flat, values.ravel(), count + 1))
    chosen = values > 0.5
    assert (runs.counts(chosen) == np.bincount(flat[chosen.ravel()], minlength=count + 1)).all()


@given(sides, sides, st.integers(0, 4), seeds)
def test_a_blur_is_the_mean_of_a_square(height: int, width: int, radius: int, seed: int) -> None:
    plane = np.random.default_rng(seed).random((height, width), np.float32)
    expected = ndimage.uniform_filter(plane, 2 * radius + 1, mode="nearest")
    assert blurred(plane, radius) == pytest.approx(expected, abs=1e-6)
    three = np.stack([plane, 1 - plane, plane / 2], axis=-1)
    assert blurred(three, radius)[..., 0] == pytest.approx(expected, abs=1e-6)


@given(sides, sides, sides, sides, seeds)
def test_enlarging_is_bilinear(height: int, width: int, more: int, wider: int, seed: int) -> None:
    plane = np.random.default_rng(seed).random((height, width), np.float32)
    size = height + more, width + wider
    expected = np.asarray(Image.fromarray(plane).resize(size[::-1], Image.Resampling.BILINEAR))
    assert enlarged(plane, size) == pytest.approx(expected, abs=1e-5)
    assert enlarged(plane, plane.shape) is plane


@given(sides, sides, seeds)
def test_channels(height: int, width: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    assert (darkest_channel(pixels) == pixels.min(axis=2)).all()
    assert channel_means(pixels) == pytest.approx(pixels.reshape(-1, 3).mean(axis=0))
    weights = np.array([3, 0, 255], np.float32)
    assert (weighted_sum(pixels, weights) == pixels.astype(np.float32) @ weights).all()  # whole numbers, exact
    gray = np.stack([pixels[..., 0]] * 3, axis=-1)
    plane = gray_plane(gray)
    assert plane is not None
    assert np.array_equal(plane, pixels[..., 0])
    gray[height // 2, width // 2, seed % 3] ^= 1
    assert gray_plane(gray) is None


@given(sides, sides, seeds)
def test_tables_and_counts(height: int, width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    plane = random.integers(0, 256, (height, width), np.uint8)
    assert (histogram(plane) == np.bincount(plane.ravel(), minlength=256)).all()
    table, colors = random.integers(0, 256, 256, np.uint8), random.integers(0, 256, (256, 3), np.uint8)
    assert (looked_up(plane, table) == table[plane]).all()
    assert (looked_up(plane, colors) == colors[plane]).all()
    padded = np.pad(plane > 127, 1).astype(np.uint8)
    expected = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    assert (counted_beside(plane > 127) == expected).all()


def test_a_histogram_of_many_pixels_is_exact() -> None:
    plane = np.zeros((4097, 4097), np.uint8)  # more than float32 can count one by one
    plane[0, 0] = 7
    assert histogram(plane)[[0, 7]].tolist() == [plane.size - 1, 1]


@given(sides, sides, st.integers(1, 9), seeds)
def test_extremes_of_blocks_and_cells(height: int, width: int, side: int, seed: int) -> None:
    plane = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    starts = np.arange(0, height, side), np.arange(0, width, side)
    for found, pick in ((largest_of_blocks, np.maximum), (smallest_of_blocks, np.minimum)):
        rows = pick.reduceat(plane, starts[0], axis=0)
        assert (found(plane, side) == pick.reduceat(rows, starts[1], axis=1)).all()
    whole = plane[: height // side * side, : width // side * side]
    if whole.size:  # the cells of a whole number of pixels are blocks
        size = whole.shape[0] // side, whole.shape[1] // side
        assert (largest_of_cells(whole, size) == largest_of_blocks(whole, side)).all()
        assert (smallest_of_cells(whole, size) == smallest_of_blocks(whole, side)).all()
    size = max(1, height // side), max(1, width // side)
    middles = [(2 * np.arange(n) + 1) * length // (2 * n) for n, length in zip(size, plane.shape, strict=False)]
    assert (sampled(plane, size) == plane[np.ix_(*middles)]).all()
    assert (smallest_of_cells(plane, size) <= sampled(plane, size)).all()
    assert averaged(plane, size).shape == (*size, 3)
