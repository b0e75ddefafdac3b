import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from polyexport.imaging.psnr import EXACT_PSNR_DB, psnr_db, psnr_db_of_mse

WHITE = np.full((10, 10, 3), 255, np.uint8)

images = arrays(np.uint8, (5, 4, 3))


def test_psnr_by_hand() -> None:
    off = WHITE.copy()
    off[..., 0] -= 10
    assert psnr_db(off, WHITE) == pytest.approx(10 * np.log10(255**2 / (100 / 3)))
    assert psnr_db(np.zeros_like(WHITE), WHITE) == pytest.approx(0)


def test_only_equal_images_have_the_largest_value() -> None:
    white = np.full((128, 128, 3), 255, np.uint8)
    off = white.copy()
    off[0, 0, 0] = 254
    assert psnr_db(WHITE, WHITE) == EXACT_PSNR_DB
    assert psnr_db(off, white) < EXACT_PSNR_DB
    assert psnr_db_of_mse(1e-12) == EXACT_PSNR_DB


@given(images, st.integers(1, 30))
def test_a_larger_error_has_a_lower_psnr(target: np.ndarray, step: int) -> None:
    target = np.clip(target, 60, 195)
    assert psnr_db(target + np.uint8(step + 1), target) < psnr_db(target + np.uint8(step), target)
