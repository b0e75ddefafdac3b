"""Structural similarity at one scale, by scikit-image, and at several scales."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.metrics import structural_similarity

__all__ = ["WINDOW", "ms_ssim", "scales_of", "ssim"]

WINDOW = 11
"""Side of the Gaussian window, pixels (Wang et al., 2004); an image with a shorter side has no SSIM."""

_SIGMA = 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

_WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])
"""Weights of the scales, finest first (Wang, Simoncelli, Bovik: Multi-scale structural similarity, 2003, section
3.2)."""


def scales_of(height: int, width: int) -> int:
    """Number of scales of an image, up to five: the coarsest holds one whole window. 128x128 has four."""
    scales = 0
    while scales < len(_WEIGHTS) and min(height, width) >> scales >= WINDOW:
        scales += 1
    return scales


def ssim(image: NDArray[np.uint8], target: NDArray[np.uint8]) -> float:
    """Structural similarity with the settings of Wang et al., 2004; NaN for a side under ``WINDOW`` pixels."""
    if scales_of(*image.shape[:2]) == 0:
        return float("nan")
    value = structural_similarity(
        image,
        target,
        channel_axis=-1,
        data_range=255,
        gaussian_weights=True,
        sigma=_SIGMA,
        use_sample_covariance=False,
    )
    return float(value)


def ms_ssim(image: NDArray[np.uint8], target: NDArray[np.uint8]) -> float:
    """Multi-scale structural similarity, mean over the channels; NaN for a side under ``WINDOW`` pixels.

    An image too small for five scales is measured at those that it has, their weights scaled to a sum of one. A
    negative structure term, which has no real power, counts as zero.
    """
    scales = scales_of(*image.shape[:2])
    if scales == 0:
        return float("nan")
    weights = _WEIGHTS[:scales] / _WEIGHTS[:scales].sum()
    both = np.stack([image, target]).astype(np.float32).transpose(0, 3, 1, 2)  # [2, 3, H, W]
    product = np.ones(3)
    for scale, weight in enumerate(weights):
        luminance, structure = _terms(both[0], both[1])
        last = scale == scales - 1
        term = (luminance * structure if last else structure).mean(axis=(1, 2), dtype=np.float64)
        product *= np.clip(term, 0, 1) ** weight
        if not last:
            height, width = (side // 2 * 2 for side in both.shape[2:])
            both = both[:, :, :height, :width].reshape(2, 3, height // 2, 2, width // 2, 2).mean(axis=(3, 5))
    return float(product.mean())


def _terms(image: NDArray[np.float32], target: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Luminance and contrast-structure terms of two images [3, H, W] where the window fits, [3, H - 10, W - 10]."""
    planes = np.stack([image, target, image * image, target * target, image * target])
    margin = WINDOW // 2
    blurred = ndimage.gaussian_filter(planes, sigma=(0, 0, _SIGMA, _SIGMA), radius=(0, 0, margin, margin))
    mean_i, mean_t, square_i, square_t, product = blurred[..., margin:-margin, margin:-margin]
    luminance = (2 * mean_i * mean_t + _C1) / (mean_i**2 + mean_t**2 + _C1)
    covariance = product - mean_i * mean_t
    variances = square_i - mean_i**2 + square_t - mean_t**2
    return luminance, (2 * covariance + _C2) / (variances + _C2)
