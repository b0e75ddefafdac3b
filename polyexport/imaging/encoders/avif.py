"""Writer of AVIF, lossy. Its resolution is an entry of the EXIF data.

The format allows 65536 pixels a side, but no program that uses libavif as it comes reads more than is written here.
"""

import numpy as np
from numpy.typing import NDArray

from polyexport.errors import ImageError
from polyexport.imaging.encoders.encoder import Encoder, save
from polyexport.imaging.encoders.exif import exif_with_resolution
from polyexport.imaging.output_format import DEFAULT_QUALITY, OutputFormat
from polyexport.imaging.profiles import MAX_PROFILE_BYTES
from polyexport.imaging.traits import Traits

__all__ = ["AVIF"]

_MAX_SIDE, _MAX_PIXELS = 32768, 2**28  # limits of libavif's readers


class _Avif(Encoder):
    def write(self, pixels: NDArray[np.uint8], output: OutputFormat, traits: Traits, notes: list[str]) -> bytes:
        """See ``Encoder``."""
        if pixels.shape[0] * pixels.shape[1] > _MAX_PIXELS:
            raise ImageError(f"AVIF holds at most {_MAX_PIXELS} pixels", remedy="use --format png or tiff")
        if pixels.shape[2] == 2:
            pixels = pixels[..., [0, 0, 0, 1]]
        quality = output.quality or DEFAULT_QUALITY
        colors = "4:4:4" if quality >= DEFAULT_QUALITY else "4:2:0"
        return save(
            pixels,
            "AVIF",
            quality=quality,
            subsampling="4:0:0" if pixels.shape[2] == 1 else colors,
            max_threads=1,  # outputs are encoded side by side; and the tiles of a picture depend on the threads
            icc_profile=traits.icc_profile,
            exif=exif_with_resolution(traits.exif, traits.dpi, notes),
            xmp=traits.xmp,
        )


AVIF = _Avif(
    name="AVIF",
    suffixes=(".avif", ".avifs"),
    max_side=_MAX_SIDE,
    profile_bytes=MAX_PROFILE_BYTES,
    held=frozenset({"exif", "xmp", "dpi"}),
)
