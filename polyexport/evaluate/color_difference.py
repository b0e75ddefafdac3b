"""Perceived color differences, and names of colors.

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
"""Rows and columns of a confusion matrix: the named colors, and white for fills that stayed empty."""

SAME_COLOR = 1.8
"""Largest CIEDE2000 at which two colors count as one: the acceptability threshold of Paravina et al., Color difference
thresholds in dentistry, 2015. It keeps a color that lies between two names from counting as confused for a difference
that is hardly visible."""


def ciede2000(image: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
    """Color differences of two arrays of sRGB values, uint8 [..., 3]; float64 [...]."""
    first, second = (np.asarray(each, dtype=np.uint8) for each in (image, target))
    # Flat drawings hold few different pairs of colors: each is converted once.
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
    """Find the nearest of ``NAMES``; the first of two that are equally near."""
    values = [*(value for _, value in NAMED_COLORS), (255, 255, 255)]
    return NAMES[int(np.argmin(ciede2000(np.broadcast_to(rgb, (len(values), 3)), values)))]


def painted_name(painted: tuple[int, int, int], wanted: tuple[int, int, int]) -> str:
    """Name a painted color: by the wanted color if both look the same, else by the nearest name."""
    same = float(ciede2000(painted, wanted)) <= SAME_COLOR
    return name_of(wanted if same else painted)


def confused(painted: str, wanted: str) -> bool:
    """Whether a fill has another name than the wanted color; a fill that stayed empty is not confused."""
    return painted not in (wanted, PAPER)
