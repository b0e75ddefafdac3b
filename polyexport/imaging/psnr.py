"""Peak signal-to-noise ratio of 8-bit images."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["EXACT_PSNR_DB", "psnr_db", "psnr_db_of_mse"]

EXACT_PSNR_DB = 100.0
"""PSNR of two equal images, decibels, in place of infinity; one value of 128x128 pixels that is off by one level gives
95 dB."""


def psnr_db(image: NDArray[np.uint8], target: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of two images of one shape, decibels.

    Args:
        image: uint8 values of any shape.
        target: uint8 values of the same shape.

    Returns:
        10 log10(255^2 / MSE) over all values, at most ``EXACT_PSNR_DB``.
    """
    return psnr_db_of_mse(float(np.mean(np.square(image.astype(np.int32) - target))))


def psnr_db_of_mse(mse: float) -> float:
    """Peak signal-to-noise ratio of a mean squared error in levels of 255, decibels, at most ``EXACT_PSNR_DB``."""
    return min(EXACT_PSNR_DB, float(10 * np.log10(255.0**2 / mse))) if mse else EXACT_PSNR_DB
