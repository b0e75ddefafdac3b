"""Pixel errors of one image against its target; uint8 [H, W, 3] both."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["CLOSE_LEVELS", "EXACT_PSNR_DB", "pixel_errors", "psnr_db"]

EXACT_PSNR_DB = 100.0
"""What an image without a single differing value counts as. At 128x128 one value off by one level is 95 dB."""

CLOSE_LEVELS = 8
"""Up to so many levels a value counts as close, and paper as white."""


def psnr_db(image: NDArray[np.uint8], target: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio, 10 log10(255^2 / MSE) over all values, at most ``EXACT_PSNR_DB``."""
    return _psnr_db(_mse(image.astype(np.int32) - target))


def pixel_errors(image: NDArray[np.uint8], target: NDArray[np.uint8]) -> dict[str, float]:
    """The metrics of the catalog that compare value by value, under their names."""
    error = image.astype(np.int32) - target  # [H, W, 3]
    absolute = np.abs(error)
    largest = absolute.max(axis=-1)
    mse = _mse(error)
    values = {
        "psnr_db": _psnr_db(mse),
        "mse": mse,
        "rmse_levels": float(np.sqrt(mse)),
        "mae_levels": float(absolute.mean()),
        "max_error_levels": float(largest.max()),
        "within_8": float(np.mean(largest <= CLOSE_LEVELS)),
        "exact_pixels": float(np.mean(largest == 0)),
        "exact": float(not largest.any()),
    }
    for channel, name in enumerate(("red", "green", "blue")):
        values[f"mae_{name}_levels"] = float(absolute[..., channel].mean())
        values[f"bias_{name}_levels"] = float(error[..., channel].mean())
    return values


def _mse(error: NDArray[np.int32]) -> float:
    return float(np.mean(np.square(error)))


def _psnr_db(mse: float) -> float:
    return min(EXACT_PSNR_DB, float(10 * np.log10(255.0**2 / mse))) if mse else EXACT_PSNR_DB
