"""Perceived colour differences and colour names.

CIEDE2000 after Sharma, Wu, Dalal: The CIEDE2000 color-difference formula, 2005; sRGB, D65, 2 degree observer.
"""

import functools

import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage.color import deltaE_ciede2000, rgb2lab

from polyexport.imaging.color import NAMED_COLORS

__all__ = ["NAMES", "PAPER", "SAME_COLOR", "ciede2000", "confused", "name_of", "painted_name"]

PAPER = "white"

NAMES: tuple[str, ...] = (*(name for name, _ in NAMED_COLORS), PAPER)
"""Rows and columns of a confusion matrix: the named colours, and the paper, for what stayed empty."""

SAME_COLOR = 1.8
"""CIEDE2000 up to which two colours pass for one: the acceptability threshold of Paravina et al., Color difference
thresholds in dentistry, 2015. It keeps a colour that lies between two names from being confused for a difference that
hardly anybody sees."""


def ciede2000(image: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
    """Two arrays of sRGB values, uint8 [..., 3] -> their differences, [...]."""
    first, second = (np.asarray(each, dtype=np.uint8) for each in (image, target))
    # Flat drawings hold few different pairs of colours: each is converted once.
    keys = _packed(first) << 24 | _packed(second)
    unique, inverse = np.unique(keys, return_inverse=True)
    differences = deltaE_ciede2000(_lab(unique >> 24), _lab(unique & 0xFFFFFF))
    result: NDArray[np.float64] = np.asarray(differences, dtype=np.float64)[inverse].reshape(keys.shape)
    return result


def _packed(rgb: NDArray[np.uint8]) -> NDArray[np.int64]:
    red, green, blue = np.moveaxis(rgb.astype(np.int64), -1, 0)
    packed: NDArray[np.int64] = red << 16 | green << 8 | blue
    return packed


def _lab(packed: NDArray[np.int64]) -> NDArray[np.float64]:
    rgb = np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], axis=-1)
    lab: NDArray[np.float64] = rgb2lab(rgb / 255.0)
    return lab


@functools.lru_cache(maxsize=4096)
def name_of(rgb: tuple[int, int, int]) -> str:
    """The nearest of ``NAMES``; the first of two that are equally near."""
    values = [*(value for _, value in NAMED_COLORS), (255, 255, 255)]
    return NAMES[int(np.argmin(ciede2000(np.broadcast_to(rgb, (len(values), 3)), values)))]


def painted_name(painted: tuple[int, int, int], wanted: tuple[int, int, int]) -> str:
    """The name of a painted colour: that of the wanted one if they look the same, else the nearest."""
    same = float(ciede2000(painted, wanted)) <= SAME_COLOR
    return name_of(wanted if same else painted)


def confused(painted: str, wanted: str) -> bool:
    """Whether a fill is of another name than the wanted one; paper that stayed empty is no confusion of colours."""
    return painted not in (wanted, PAPER)
