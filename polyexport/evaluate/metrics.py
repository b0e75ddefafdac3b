"""Errors of the pixel values of an image, against its target."""

import numpy as np
from numpy.typing import NDArray

from polyexport.imaging.psnr import psnr_db_of_mse

__all__ = ["CLOSE_LEVELS", "pixel_errors"]

CLOSE_LEVELS = 8
"""Largest difference, in levels of 255, at which a value counts as close to another one, and paper as white."""


def pixel_errors(image: NDArray[np.uint8], target: NDArray[np.uint8]) -> dict[str, float]:
    """Metrics of the catalog that compare value by value, by name, of two images uint8 [H, W, 3]."""
    error = image.astype(np.int32) - target  # [H, W, 3]
    absolute = np.abs(error)
    largest = absolute.max(axis=-1)
    mse = float(np.mean(np.square(error)))
    values = {
        "psnr_db": psnr_db_of_mse(mse),
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
