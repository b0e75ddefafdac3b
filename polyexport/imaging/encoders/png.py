"""Writer of PNG: the fast one of ``encode_png``, or pillow's at another level, with chunks for the traits."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from polyexport.imaging.codecs.png import encode_png, png_chunk
from polyexport.imaging.encoders.encoder import Encoder, save, tiff_bytes
from polyexport.imaging.encoders.profile import srgb_profile
from polyexport.imaging.output_format import OutputFormat
from polyexport.imaging.traits import Traits

__all__ = ["PNG", "trait_chunks"]

_HEADER_BYTES = 33  # the signature and the chunk IHDR; the chunks of traits follow (PNG specification, 5.6)
_PERCEPTUAL = b"\0"  # rendering intent of pictures
_METERS_PER_INCH = 0.0254
_MAX_DENSITY = 2**31 - 1  # pixels per meter
_PROFILE_BYTES = 2**20  # pillow as it comes refuses PNG files with larger ones


class _Png(Encoder):
    def write(self, pixels: NDArray[np.uint8], output: OutputFormat, traits: Traits, notes: list[str]) -> bytes:
        """See ``Encoder``."""
        if output.compression is None:
            data = encode_png(pixels)
        else:
            data = save(pixels, "PNG", compress_level=output.compression)
        chunks = trait_chunks(traits, notes)
        return data[:_HEADER_BYTES] + chunks + data[_HEADER_BYTES:] if chunks else data


PNG = _Png(
    name="PNG",
    suffixes=(".png", ".apng"),
    max_side=2**31 - 1,
    profile_bytes=_PROFILE_BYTES,
    held=frozenset({"exif", "xmp", "dpi"}),
)


def trait_chunks(traits: Traits, notes: list[str]) -> bytes:
    """Return the chunks of the profile and the metadata of a picture, which follow its header.

    Args:
        traits: what the file gets.
        notes: a list that gets one line for each thing that was dropped.
    """
    chunks = b""
    if traits.icc_profile == srgb_profile():
        chunks += png_chunk(b"sRGB", _PERCEPTUAL)
    elif traits.icc_profile:
        chunks += png_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(traits.icc_profile))
    if traits.dpi:
        densities = [round(value / _METERS_PER_INCH) for value in traits.dpi]
        if all(1 <= density <= _MAX_DENSITY for density in densities):
            chunks += png_chunk(b"pHYs", struct.pack(">IIB", *densities, 1))
        else:
            notes.append(f"PNG holds a resolution of 1 to {_MAX_DENSITY} pixels per meter: left out")
    if traits.exif:
        chunks += png_chunk(b"eXIf", tiff_bytes(traits.exif))
    if traits.xmp:
        # Keyword, no compression, and neither language nor translated keyword.
        chunks += png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + traits.xmp)
    return chunks
