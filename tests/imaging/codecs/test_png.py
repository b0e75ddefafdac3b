import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from polyexport.data.drawings import draw
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.pixels import decode

DRAWING = draw(np.random.default_rng(1), 48).image


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
def test_encoding_loses_nothing(pixels: np.ndarray) -> None:
    assert np.array_equal(decode(encode_png(pixels)).pixels, pixels)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(4))))
def test_encoding_keeps_alpha(pixels: np.ndarray) -> None:
    with Image.open(io.BytesIO(encode_png(pixels))) as image:
        assert image.mode == "RGBA"
        assert np.array_equal(np.asarray(image), pixels)


def test_equal_pixels_give_equal_bytes() -> None:
    assert encode_png(DRAWING) == encode_png(DRAWING[:, ::-1][:, ::-1])


@pytest.mark.parametrize("channels", [0, 5])
def test_encoding_takes_one_to_four_channels(channels: int) -> None:
    with pytest.raises(KeyError):
        encode_png(np.zeros((2, 2, channels), np.uint8))
