"""Traits of an image file: what it holds beside the pixels that a network sees, to be put back into its outputs."""

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyexport.imaging.profiles import MAX_PROFILE_BYTES

__all__ = ["KEEP_NOTHING", "MAX_BITS", "MAX_DPI", "MAX_EXIF_BYTES", "MAX_XMP_BYTES", "NO_TRAITS", "Keep", "Traits"]

MAX_EXIF_BYTES = 65533
"""Largest EXIF data that are kept, in bytes: what fits into a JPEG file, in which they are one segment."""

MAX_XMP_BYTES = 65504
"""Largest XMP packet that is kept, in bytes: what fits into one segment of a JPEG file."""

MAX_DPI = 1e6
"""Largest resolution that is kept, pixels per inch."""

MAX_BITS = 64
"""Largest number of bits per channel that a file may have."""

_FORMAT = re.compile(r"[A-Z0-9]{0,8}")  # the registry of formats stands above this module


@dataclass(frozen=True, kw_only=True, slots=True)
class Keep:
    """Choice of the traits that decoding keeps. Format and bits are kept whenever something else is."""

    metadata: bool = False
    """Keep color profile, EXIF, XMP and resolution."""

    alpha: bool = False
    """Keep the alpha of the image."""

    try_profile: bool = False
    """Try to write into the color profile, so that one on which littlecms crashes ends the process that decodes, and
    not the one that encodes."""

    @property
    def anything(self) -> bool:
        """Whether any trait is kept."""
        return self.metadata or self.alpha


KEEP_NOTHING = Keep()
"""Pixels alone, which costs nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Traits:
    """Traits of one image file. Everything in it is untrusted, but checked to be usable.

    Raises:
        ValueError: A value is out of its bounds.
    """

    format: str = ""
    """Name of the format as the registry of codecs has it; empty if unknown."""

    bits: int = 8
    """Bits per channel that the file stores; 1 for bilevel images, 8 for palettes."""

    icc_profile: bytes = b""
    """Profile from which the pixels were converted to sRGB; empty if they were taken as sRGB. It may be one of RGB,
    gray, CMYK or LAB (``polyexport.imaging.profiles.profile_space``), at most MAX_PROFILE_BYTES."""

    exif: bytes = b""
    """EXIF data without the orientation, which was applied, and without a thumbnail, at most MAX_EXIF_BYTES; they begin
    with ``Exif`` and two zero bytes. Empty if there are none."""

    xmp: bytes = b""
    """XMP packet in UTF-8, in which the orientation is upright, at most MAX_XMP_BYTES; empty if there is none."""

    dpi: tuple[float, float] | None = None
    """Horizontal and vertical resolution of the upright image, pixels per inch; None if the file has none."""

    alpha: NDArray[np.uint8] | None = None
    """Alpha of the upright image, uint8 [H, W, 1], 0 for transparent; None if the file has none or it was not asked
    for."""

    def __post_init__(self) -> None:
        if not _FORMAT.fullmatch(self.format) or not 1 <= self.bits <= MAX_BITS:
            raise ValueError(f"no image has the format {self.format[:20]!r} and {self.bits} bits per channel")
        for name, data, most in (
            ("profile", self.icc_profile, MAX_PROFILE_BYTES),
            ("EXIF data", self.exif, MAX_EXIF_BYTES),
            ("XMP packet", self.xmp, MAX_XMP_BYTES),
        ):
            if len(data) > most:
                raise ValueError(f"a {name} of {len(data)} bytes, more than {most}")
        if self.dpi is not None and not all(math.isfinite(each) and 0 < each <= MAX_DPI for each in self.dpi):
            raise ValueError(f"a resolution of {self.dpi} pixels per inch")
        if self.alpha is not None and (self.alpha.dtype != np.uint8 or self.alpha.shape[2:] != (1,)):
            raise ValueError(f"an alpha of {self.alpha.dtype} {list(self.alpha.shape)}")


NO_TRAITS = Traits()
"""Traits of an image that has none, or of which none were asked for."""
