"""Writer of WebP (RFC 9649): lossy, or lossless at quality 100. Its resolution is an entry of the EXIF data."""

import numpy as np
from numpy.typing import NDArray

from polyexport.imaging.encoders.encoder import Encoder, save
from polyexport.imaging.encoders.exif import exif_with_resolution
from polyexport.imaging.output_format import DEFAULT_QUALITY, OutputFormat
from polyexport.imaging.profiles import MAX_PROFILE_BYTES
from polyexport.imaging.traits import Traits

__all__ = ["WEBP"]

_LOSSLESS = 100
_LOSSLESS_EFFORT = 75  # of 100, for a smaller file


class _Webp(Encoder):
    def write(self, pixels: NDArray[np.uint8], output: OutputFormat, traits: Traits, notes: list[str]) -> bytes:
        """See ``Encoder``."""
        quality = output.quality or DEFAULT_QUALITY
        lossless = quality == _LOSSLESS
        return save(
            pixels,
            "WEBP",
            quality=_LOSSLESS_EFFORT if lossless else quality,
            lossless=lossless,
            exact=lossless,  # also the colors of transparent pixels
            icc_profile=traits.icc_profile,
            exif=exif_with_resolution(traits.exif, traits.dpi, notes),
            xmp=traits.xmp,
        )


WEBP = _Webp(
    name="WEBP",
    suffixes=(".webp",),
    max_side=16383,
    gray=False,
    profile_bytes=MAX_PROFILE_BYTES,
    held=frozenset({"exif", "xmp", "dpi"}),
)
