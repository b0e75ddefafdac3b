"""Structural similarity of 8-bit images (Wang, Bovik, Sheikh and Simoncelli, 2004, doi:10.1109/TIP.2003.819861)."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["ssim"]

# As in the paper: a Gaussian window of 11 pixels, and the two constants that keep flat regions from dividing by zero.
_SIGMA, _RADIUS = 1.5, 5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ssim(image: NDArray[np.uint8], target: NDArray[np.uint8]) -> float:
    """Structural similarity of two images of one shape: 1 for equal images, near 0 for unrelated ones.

    The mean over all channels and all pixels whose window is inside of the image; over all pixels, with mirrored
    borders, where the image is smaller than a window.

    Args:
        image: uint8 [H, W, C].
        target: uint8 of the same shape.
    """
    from scipy.ndimage import correlate1d  # slow to import

    offsets = np.arange(-_RADIUS, _RADIUS + 1)
    window = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    window /= window.sum()

    def smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
        columns = correlate1d(values, window, axis=0, mode="mirror")
        result: NDArray[np.float64] = correlate1d(columns, window, axis=1, mode="mirror")
        return result

    one, other = image.astype(np.float64), target.astype(np.float64)
    mean, mean_other = smooth(one), smooth(other)
    variance, variance_other = smooth(one * one) - mean**2, smooth(other * other) - mean_other**2
    covariance = smooth(one * other) - mean * mean_other
    similarity = ((2 * mean * mean_other + _C1) * (2 * covariance + _C2)) / (
        (mean**2 + mean_other**2 + _C1) * (variance + variance_other + _C2)
    )
    if min(similarity.shape[:2]) > 2 * _RADIUS:
        similarity = similarity[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS]
    return float(similarity.mean())
