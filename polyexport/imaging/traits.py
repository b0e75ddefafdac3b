"""Traits of an image file: what it holds beside the pixels that a network sees, to be put back into its outputs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_TRAITS", "Traits"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Traits:
    """Traits of one image file. Everything in it is untrusted, but checked to be usable."""

    format: str = ""
    """Name of the format as the registry of codecs has it; empty if unknown."""

    bits: int = 8
    """Bits per channel that the file stores."""

    icc_profile: bytes = b""
    """Profile from which the pixels were converted to sRGB; empty if they were taken as sRGB."""

    exif: bytes = b""
    """EXIF data without the orientation, which was applied, and without a thumbnail; empty if there are none."""

    xmp: bytes = b""
    """XMP packet; empty if there is none."""

    dpi: tuple[float, float] | None = None
    """Horizontal and vertical resolution, pixels per inch; None if the file has none."""

    alpha: NDArray[np.uint8] | None = None
    """Alpha of the upright image, uint8 [H, W, 1], 0 for transparent; None if the file has none or it was not asked
    for."""


NO_TRAITS = Traits()
"""Traits of an image that has none, or of which none were asked for."""
