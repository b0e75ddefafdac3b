"""Writer of JPEG (ITU-T T.81): gray or YCbCr, baseline. Traits fit: EXIF data and XMP have at most a segment each."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyexport.imaging.encoders.encoder import Encoder, save
from polyexport.imaging.output_format import DEFAULT_QUALITY, OutputFormat
from polyexport.imaging.profiles import MAX_PROFILE_BYTES
from polyexport.imaging.traits import Traits

__all__ = ["JPEG"]

_MAX_SIDE = 65500  # of libjpeg; the format itself has 35 more
_MAX_DENSITY = 65535  # pixels per inch, 16 bits in the JFIF header


class _Jpeg(Encoder):
    def write(self, pixels: NDArray[np.uint8], output: OutputFormat, traits: Traits, notes: list[str]) -> bytes:
        """See ``Encoder``."""
        quality = output.quality or DEFAULT_QUALITY
        options: dict[str, Any] = {"quality": quality}
        if pixels.shape[2] == 3:
            options["subsampling"] = "4:4:4" if quality >= DEFAULT_QUALITY else "4:2:0"
        if traits.icc_profile:
            options["icc_profile"] = traits.icc_profile
        if traits.exif:
            options["exif"] = traits.exif
        if traits.xmp:
            options["xmp"] = traits.xmp
        if traits.dpi:
            if all(1 <= round(value) <= _MAX_DENSITY for value in traits.dpi):
                options["dpi"] = traits.dpi
            else:
                notes.append(f"JPEG holds a resolution of 1 to {_MAX_DENSITY} pixels per inch: left out")
        return save(pixels, "JPEG", **options)


JPEG = _Jpeg(
    name="JPEG",
    suffixes=(".jpg", ".jpeg", ".jpe"),
    max_side=_MAX_SIDE,
    alpha=False,
    profile_bytes=MAX_PROFILE_BYTES,
    held=frozenset({"exif", "xmp", "dpi"}),
)
