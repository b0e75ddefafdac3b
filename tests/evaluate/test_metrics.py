import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from polyexport.evaluate.metrics import pixel_errors
from polyexport.imaging.psnr import psnr_db

WHITE = np.full((10, 10, 3), 255, np.uint8)

images = arrays(np.uint8, (5, 4, 3))


def test_only_an_exact_image_counts_as_exact() -> None:
    white = np.full((128, 128, 3), 255, np.uint8)
    off = white.copy()
    off[0, 0, 0] = 254
    assert pixel_errors(WHITE, WHITE)["exact"] == 1
    assert pixel_errors(off, white)["exact"] == 0
    assert pixel_errors(off, white)["exact_pixels"] == 1 - 1 / 128**2


def test_a_pixel_is_within_only_if_every_channel_is() -> None:
    off = WHITE.copy()
    off[0, :, 1] -= 8
    off[1, :, 2] -= 9
    errors = pixel_errors(off, WHITE)
    assert errors["within_8"] == pytest.approx(0.9)
    assert errors["exact_pixels"] == pytest.approx(0.8)
    assert errors["max_error_levels"] == 9


def test_channels_have_their_own_error_and_sign() -> None:
    target = np.full((10, 10, 3), 100, np.uint8)
    off = target.copy()
    off[..., 0] += 4
    off[:5, :, 1] -= 6
    errors = pixel_errors(off, target)
    assert [errors[f"bias_{name}_levels"] for name in ("red", "green", "blue")] == [4, -3, 0]
    assert [errors[f"mae_{name}_levels"] for name in ("red", "green", "blue")] == [4, 3, 0]
    assert errors["mae_levels"] == pytest.approx(7 / 3)
    assert errors["mse"] == pytest.approx((16 + 18) / 3)


@given(images, images)
def test_the_errors_agree_with_each_other(image: np.ndarray, target: np.ndarray) -> None:
    errors = pixel_errors(image, target)
    assert 0 <= errors["mae_levels"] <= errors["rmse_levels"] <= errors["max_error_levels"] <= 255
    assert errors["mse"] == pytest.approx(errors["rmse_levels"] ** 2)
    assert errors["psnr_db"] == psnr_db(image, target) == psnr_db(target, image)
    assert errors["exact"] <= errors["exact_pixels"] <= errors["within_8"] <= 1
    for name in ("red", "green", "blue"):
        assert abs(errors[f"bias_{name}_levels"]) <= errors[f"mae_{name}_levels"]
