"""Metrics of one image against its target; uint8 [H, W, 3] both."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["EXACT_PSNR_DB", "exact", "psnr_db", "within_levels"]

EXACT_PSNR_DB = 100.0
"""What an image without a single differing value counts as. At 128x128 one value off by one level is 95 dB."""


def psnr_db(image: NDArray[np.uint8], target: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio, 10 log10(255^2 / MSE) over all values, at most ``EXACT_PSNR_DB``."""
    mse = float(np.mean(np.square(image.astype(np.float64) - target)))
    return min(EXACT_PSNR_DB, 10 * np.log10(255.0**2 / mse)) if mse else EXACT_PSNR_DB


def within_levels(image: NDArray[np.uint8], target: NDArray[np.uint8], levels: int = 8) -> float:
    """Fraction of pixels whose three channels all lie within ``levels`` of the target's."""
    difference = np.abs(image.astype(np.int16) - target).max(axis=-1)
    return float(np.mean(difference <= levels))


def exact(image: NDArray[np.uint8], target: NDArray[np.uint8]) -> bool:
    """Whether every value is equal."""
    return bool(np.array_equal(image, target))
