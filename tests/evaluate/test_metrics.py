import numpy as np
import pytest

from polyexport.evaluate.metrics import EXACT_PSNR_DB, exact, psnr_db, within_levels

WHITE = np.full((10, 10, 3), 255, np.uint8)


def test_psnr_by_hand() -> None:
    off = WHITE.copy()
    off[..., 0] -= 10
    assert psnr_db(off, WHITE) == pytest.approx(10 * np.log10(255**2 / (100 / 3)))
    assert psnr_db(np.zeros_like(WHITE), WHITE) == pytest.approx(0)


def test_only_an_exact_image_counts_as_exact() -> None:
    off = np.full((128, 128, 3), 255, np.uint8)
    off[0, 0, 0] = 254
    assert psnr_db(WHITE, WHITE) == EXACT_PSNR_DB
    assert psnr_db(off, np.full_like(off, 255)) < EXACT_PSNR_DB
    assert exact(WHITE, WHITE)
    assert not exact(off, np.full_like(off, 255))


def test_a_pixel_is_within_only_if_every_channel_is() -> None:
    off = WHITE.copy()
    off[0, :, 1] -= 8
    off[1, :, 2] -= 9
    assert within_levels(off, WHITE) == pytest.approx(0.9)
