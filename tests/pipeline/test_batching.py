"""How many images share a call of the network."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyexport.model.canvas import Canvas
from polyexport.pipeline.batching import Batcher
from polyexport.pipeline.plan import Item
from polyexport.pipeline.progress import InputProgress, OutputTask


def task(side: int, number: int = 0) -> OutputTask:
    """One output of a square image that is its own canvas."""
    pixels = np.zeros((side, side, 3), np.uint8)
    canvas = Canvas(pixels=pixels, height=side, width=side, inner_height=side, inner_width=side)
    item = Item(source="a.png", name="a.png", settings=())
    return OutputTask(InputProgress(0, item, 0, [], [], 1), canvas, (), number)


def batcher(batch_size: int, pixels_per_call: int, **values: int) -> Batcher:
    """A batcher that only collects; nothing is run."""
    return Batcher(None, batch_size=batch_size, pixels_per_call=pixels_per_call, images_per_task=8, window=64, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("side", "count", "batch_size"), [(64, 8, 4), (128, 8, 4), (160, 8, 2), (192, 8, 1), (1024, 8, 1)]
)
def test_small_images_share_a_call(side: int, count: int, batch_size: int) -> None:
    collected = batcher(4, 4 * 128**2)
    for _ in range(20):
        collected.add([task(side)])
    tasks, taken = collected.take((side, side, 3))
    assert (len(tasks), taken) == (count, batch_size)


@given(st.integers(1, 64), st.integers(1, 9), st.integers(1, 9), st.integers(1, 1 << 16))
def test_the_colors_of_an_image_share_its_call(side: int, colors: int, inputs: int, pixels: int) -> None:
    collected = batcher(inputs * colors, pixels, colors=colors)
    collected.add([task(side, number) for number in range(colors)])
    batch_size = collected.take((side, side, 3))[1]
    assert batch_size % colors == 0
    assert batch_size <= inputs * colors
    assert batch_size == colors or batch_size * side * side <= pixels
