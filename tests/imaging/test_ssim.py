import numpy as np
import pytest
from numpy.typing import NDArray

from polyexport.data.drawings import draw
from polyexport.imaging.ssim import ssim


def by_the_book(image: NDArray[np.uint8], target: NDArray[np.uint8]) -> float:
    """The definition, window by window, for one channel."""
    offsets = np.arange(-5, 6)
    weights = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    found = []
    for top in range(image.shape[0] - 10):
        for left in range(image.shape[1] - 10):
            one, other = (each[top : top + 11, left : left + 11].astype(float) for each in (image, target))
            mean, mean_other = (weights * one).sum(), (weights * other).sum()
            variance = (weights * (one - mean) ** 2).sum()
            variance_other = (weights * (other - mean_other) ** 2).sum()
            covariance = (weights * (one - mean) * (other - mean_other)).sum()
            luminance = (2 * mean * mean_other + 2.55**2) / (mean**2 + mean_other**2 + 2.55**2)
            structure = (2 * covariance + 7.65**2) / (variance + variance_other + 7.65**2)
            found.append(luminance * structure)
    return float(np.mean(found))


def test_it_is_that_of_the_paper() -> None:
    rng = np.random.default_rng(1)
    image = draw(rng, 48).image[10:34, 12:32]
    other = np.clip(image + rng.normal(0, 12, image.shape), 0, 255).astype(np.uint8)
    channels = [by_the_book(image[..., channel], other[..., channel]) for channel in range(3)]
    assert 0.1 < np.mean(channels) < 0.98
    assert ssim(image, other) == pytest.approx(np.mean(channels), abs=1e-9)


def test_equal_images_have_one_and_images_smaller_than_the_window_have_some() -> None:
    image = draw(np.random.default_rng(1), 32).image
    assert ssim(image, image) == pytest.approx(1)
    small = image[8:16, 8:16]
    assert ssim(small, small) == pytest.approx(1)
    assert ssim(small, 255 - small) < 0.9
