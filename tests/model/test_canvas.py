import hashlib
import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyexport.errors import ImageError, UsageError
from polyexport.model.canvas import MAX_NATIVE_PIXELS, CanvasRule

FIT = CanvasRule(size=64, multiple=16)
NATIVE = CanvasRule(mode="native", size=64, multiple=16)
sides = st.integers(1, 200)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


CASES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("canvas_cases.json").read_text())["cases"]
"""One table of images and their canvases, which other implementations can be tested against as well."""


def pattern(height: int, width: int) -> np.ndarray:
    """The image of a case: channel c of the pixel in row y and column x is (7 y + 13 x + 31 c) mod 256."""
    row, column, channel = np.ogrid[:height, :width, :3]
    levels: np.ndarray = (7 * row + 13 * column + 31 * channel) % 256
    return levels.astype(np.uint8)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['width']}x{case['height']} {case['mode']}")
def test_the_table_of_cases(case: dict[str, Any]) -> None:
    rule = CanvasRule(mode=case["mode"], size=case["size"], multiple=case["multiple"])
    canvas = rule.place(pattern(case["height"], case["width"]))
    assert list(canvas.pixels.shape) == [*case["canvas"], 3]
    assert [canvas.inner_height, canvas.inner_width] == case["inner"]
    assert hashlib.sha256(canvas.pixels.tobytes()).hexdigest() == case["canvas_sha256"]
    assert hashlib.sha256(canvas.restore(canvas.pixels).tobytes()).hexdigest() == case["restored_sha256"]
    if "pixels" in case:
        assert canvas.pixels.ravel().tolist() == case["pixels"]


@given(sides, sides, st.sampled_from([FIT, NATIVE]))
def test_any_size_comes_back_at_its_own_size(height: int, width: int, canvas_rule: CanvasRule) -> None:
    canvas = canvas_rule.place(noise(height, width))

    assert canvas.pixels.dtype == np.uint8
    assert canvas.pixels.shape[0] % 16 == canvas.pixels.shape[1] % 16 == 0
    assert canvas.restore(canvas.pixels).shape == (height, width, 3)


@given(st.integers(1, 64), st.integers(1, 64), st.sampled_from([FIT, NATIVE]))
def test_what_is_not_scaled_comes_back_unchanged(height: int, width: int, canvas_rule: CanvasRule) -> None:
    pixels = noise(height, width)
    canvas = canvas_rule.place(pixels)

    assert np.array_equal(canvas.restore(canvas.pixels), pixels)
    assert (canvas.pixels[height:] == 255).all()
    assert (canvas.pixels[:, width:] == 255).all()


@given(sides, sides)
def test_fit_has_one_canvas_shape_so_that_all_images_batch(height: int, width: int) -> None:
    assert FIT.place(noise(height, width)).pixels.shape == (64, 64, 3)


def test_fit_keeps_the_aspect() -> None:
    canvas = FIT.place(noise(100, 200))
    assert (canvas.inner_height, canvas.inner_width) == (32, 64)


def test_native_keeps_every_pixel_of_a_large_image() -> None:
    assert NATIVE.place(noise(100, 200)).pixels.shape == (112, 208, 3)


def test_native_refuses_what_would_not_fit_in_memory() -> None:
    with pytest.raises(ImageError, match="--size fit"):
        NATIVE.place(np.zeros((1, MAX_NATIVE_PIXELS, 3), np.uint8))


@pytest.mark.parametrize(
    ("size", "remedy"), [(100, "96 or 112"), (1, "16 or 32"), (65536, "2048 or less"), (0, "16 or 32")]
)
def test_a_size_that_the_network_cannot_take_names_one_that_it_can(size: int, remedy: str) -> None:
    with pytest.raises(UsageError, match=remedy):
        CanvasRule(size=size, multiple=16)


@given(sides, sides, st.sampled_from((1, 3, 4)), st.sampled_from(("1/2", "1", "2", "3")), st.sampled_from((1, 40)))
def test_a_result_of_any_scale_and_channels_has_the_size_of_its_image_times_the_scale(
    height: int, width: int, channels: int, scale: str, smallest: int
) -> None:
    rule = CanvasRule(
        mode="native", size=66, multiple=6, smallest=smallest, white=False, channels=channels, keep_original=True
    )
    image = np.random.default_rng(1).integers(0, 256, (height, width, channels), dtype=np.uint8)
    canvas = rule.place(image)
    assert canvas.pixels.shape[2] == channels
    assert min(canvas.pixels.shape[:2]) >= smallest
    assert canvas.original is image
    # Padding repeats the last row and column.
    missing = [(0, own - given) for own, given in zip(canvas.pixels.shape, image.shape, strict=True)]
    assert np.array_equal(canvas.pixels, np.pad(image, missing, mode="edge"))
    ratio = Fraction(scale)
    extents = [int(side * ratio) for side in canvas.pixels.shape[:2]]
    output = np.random.default_rng(2).integers(0, 256, (*extents, 1), dtype=np.uint8)
    restored = canvas.restore(output)
    assert restored.shape == (math.ceil(height * ratio), math.ceil(width * ratio), 1)
    assert np.array_equal(restored, output[: restored.shape[0], : restored.shape[1]])


def test_labels_are_never_mixed() -> None:
    rule = CanvasRule(size=16, multiple=16, white=False)
    canvas = rule.place(noise(64, 48))
    labels = np.where(np.arange(16)[:, None, None] < 8, 3, 200).repeat(16, axis=1).astype(np.uint8)
    assert set(np.unique(canvas.restore(labels, mixed=False))) == {3, 200}
    assert len(np.unique(canvas.restore(labels))) > 2


def test_a_fixed_size_that_is_no_square_keeps_the_aspect() -> None:
    rule = CanvasRule.for_size("fit", training_size=32, multiple=8, fixed_shape=(32, 64), white=False)
    for (height, width), inner in (((64, 64), (32, 32)), ((16, 128), (8, 64)), ((10, 20), (10, 20))):
        canvas = rule.place(noise(height, width))
        assert canvas.pixels.shape == (32, 64, 3)
        assert (canvas.inner_height, canvas.inner_width) == inner
    with pytest.raises(UsageError, match="takes only 64x32 pixels"):
        CanvasRule.for_size("native", training_size=32, multiple=8, fixed_shape=(32, 64))


def test_second_pictures_get_the_canvas_of_their_image() -> None:
    rule = CanvasRule.for_size("native", training_size=64, multiple=16, white=False, keep_original=True)
    mask = rule.for_picture(1).place(noise(30, 50)[..., :1])
    assert mask.pixels.shape == (*rule.place(noise(30, 50)).pixels.shape[:2], 1)
    assert mask.original is None
