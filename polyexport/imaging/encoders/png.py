"""Writer of PNG: the fast one of ``encode_png``, or pillow's at another level, with chunks for the traits."""

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polyexport.imaging.codecs.png import PNG_SIGNATURE, encode_png, png_chunk
from polyexport.imaging.encoders.encoder import Encoder, save, tiff_bytes
from polyexport.imaging.encoders.profile import srgb_profile
from polyexport.imaging.encoders.times import Times
from polyexport.imaging.output_format import OutputFormat
from polyexport.imaging.traits import Traits

__all__ = ["PNG", "trait_chunks"]

_HEADER_BYTES = 33  # the signature and the chunk IHDR; the chunks of traits follow (PNG specification, 5.6)
_PERCEPTUAL = b"\0"  # rendering intent of pictures
_METERS_PER_INCH = 0.0254
_MAX_DENSITY = 2**31 - 1  # pixels per meter
_MAX_PLAYS = 2**31 - 1
_MAX_DELAY = 65535  # numerator of a duration
_PROFILE_BYTES = 2**20  # pillow as it comes refuses PNG files with larger ones


class _Png(Encoder):
    def write(self, pixels: NDArray[np.uint8], output: OutputFormat, traits: Traits, notes: list[str]) -> bytes:
        """See ``Encoder``."""
        data = _encoded(pixels, output)
        chunks = trait_chunks(traits, notes)
        return data[:_HEADER_BYTES] + chunks + data[_HEADER_BYTES:] if chunks else data

    def write_frames(
        self,
        frames: Sequence[NDArray[np.uint8]],
        times: Times,
        output: OutputFormat,
        traits: Traits,
        notes: list[str],
    ) -> bytes:
        """See ``Encoder``. Every frame is stored whole, and replaces the one before (PNG specification, 4.9)."""
        height, width = frames[0].shape[:2]
        plays = times.held_plays("PNG", notes, most=_MAX_PLAYS)
        parts, number = list[bytes](), 0
        for frame, duration_ms in zip(frames, times.durations_ms, strict=True):
            data = _encoded(frame, output)
            if not parts:
                control = png_chunk(b"acTL", struct.pack(">II", len(frames), plays))
                parts += [data[:_HEADER_BYTES], trait_chunks(traits, notes), control]
            control = struct.pack(">IIIIIHHBB", number, width, height, 0, 0, *_delay(duration_ms, notes), 0, 0)
            parts.append(png_chunk(b"fcTL", control))
            number += 1
            if number == 1:
                parts.append(png_chunk(b"IDAT", _image_data(data)))
            else:
                parts.append(png_chunk(b"fdAT", struct.pack(">I", number) + _image_data(data)))
                number += 1
        return b"".join([*parts, png_chunk(b"IEND", b"")])


PNG = _Png(
    name="PNG",
    suffixes=(".png", ".apng"),
    max_side=2**31 - 1,
    profile_bytes=_PROFILE_BYTES,
    held=frozenset({"exif", "xmp", "dpi"}),
    several="frames",
)


def _encoded(pixels: NDArray[np.uint8], output: OutputFormat) -> bytes:
    if output.compression is None:
        return encode_png(pixels)
    return save(pixels, "PNG", compress_level=output.compression)


def _image_data(data: bytes) -> bytes:
    """Return the compressed pixels of a PNG file without errors."""
    bodies, start = list[bytes](), len(PNG_SIGNATURE)
    while start < len(data):
        end = start + 8 + int.from_bytes(data[start : start + 4], "big")
        if data[start + 4 : start + 8] == b"IDAT":
            bodies.append(data[start + 8 : end])
        start = end + 4
    return b"".join(bodies)


def _delay(duration_ms: int, notes: list[str]) -> tuple[int, int]:
    """Return a duration as a fraction of seconds, whose numerator and denominator have 16 bits each."""
    for divisor in (1000, 100, 10, 1):
        count = round(duration_ms * divisor / 1000)
        if count <= _MAX_DELAY:
            if count * 1000 != duration_ms * divisor:
                notes.append(f"PNG holds durations above {_MAX_DELAY} ms in longer steps: rounded")
            return count, divisor
    notes.append(f"PNG holds durations of at most {_MAX_DELAY} s: cut")
    return _MAX_DELAY, 1


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
