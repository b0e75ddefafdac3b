"""Writer of WebP (RFC 9649): lossy, or lossless at quality 100. Its resolution is an entry of the EXIF data."""

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polyexport.errors import ImageError
from polyexport.imaging.encoders.encoder import Encoder, save
from polyexport.imaging.encoders.exif import exif_with_resolution
from polyexport.imaging.encoders.times import Times
from polyexport.imaging.output_format import DEFAULT_QUALITY, OutputFormat
from polyexport.imaging.profiles import MAX_PROFILE_BYTES
from polyexport.imaging.traits import Traits

__all__ = ["WEBP"]

_LOSSLESS = 100
_LOSSLESS_EFFORT = 75  # of 100, for a smaller file

# Parts of an animation (RFC 9649, 2.7).
_HEADER_BYTES = 12
_MAX_BYTES = 2**32 - 10
_MAX_PLAYS, _MAX_DURATION_MS = 2**16 - 1, 2**24 - 1
_ANIMATION, _XMP, _EXIF, _ALPHA, _PROFILE = 2, 4, 8, 16, 32
_NO_BLENDING = 2


class _Webp(Encoder):
    def write(self, pixels: NDArray[np.uint8], output: OutputFormat, traits: Traits, notes: list[str]) -> bytes:
        """See ``Encoder``."""
        return _saved(
            pixels,
            output,
            icc_profile=traits.icc_profile,
            exif=exif_with_resolution(traits.exif, traits.dpi, notes),
            xmp=traits.xmp,
        )

    def write_frames(
        self,
        frames: Sequence[NDArray[np.uint8]],
        times: Times,
        output: OutputFormat,
        traits: Traits,
        notes: list[str],
    ) -> bytes:
        """See ``Encoder``. Every frame is stored whole: libwebp's own writer of animations leaves out equal ones."""
        height, width, channels = frames[0].shape
        plays = times.held_plays("WEBP", notes, most=_MAX_PLAYS)
        exif = exif_with_resolution(traits.exif, traits.dpi, notes)
        flags = _ANIMATION | _ALPHA * (channels == 4)
        flags |= _PROFILE * bool(traits.icc_profile) | _EXIF * bool(exif) | _XMP * bool(traits.xmp)
        size = _three(width - 1) + _three(height - 1)
        chunks = [_chunk(b"VP8X", bytes([flags, 0, 0, 0]) + size)]
        if traits.icc_profile:
            chunks.append(_chunk(b"ICCP", traits.icc_profile))
        chunks.append(_chunk(b"ANIM", struct.pack("<IH", 0, plays)))
        durations = times.in_steps("WEBP", notes, most=_MAX_DURATION_MS)
        for frame, duration_ms in zip(frames, durations, strict=True):
            head = _three(0) + _three(0) + size + _three(duration_ms) + bytes([_NO_BLENDING])
            chunks.append(_chunk(b"ANMF", head + _picture(_saved(frame, output))))
        chunks += [_chunk(name, body) for name, body in ((b"EXIF", exif), (b"XMP ", traits.xmp)) if body]
        body = b"".join([b"WEBP", *chunks])
        if len(body) > _MAX_BYTES:
            raise ImageError("WEBP holds at most 4 GB", remedy="use --format png")
        return b"RIFF" + struct.pack("<I", len(body)) + body


def _saved(
    pixels: NDArray[np.uint8], output: OutputFormat, *, icc_profile: bytes = b"", exif: bytes = b"", xmp: bytes = b""
) -> bytes:
    quality = output.quality or DEFAULT_QUALITY
    lossless = quality == _LOSSLESS
    return save(
        pixels,
        "WEBP",
        quality=_LOSSLESS_EFFORT if lossless else quality,
        lossless=lossless,
        exact=lossless,  # also the colors of transparent pixels
        icc_profile=icc_profile,
        exif=exif,
        xmp=xmp,
    )


def _picture(data: bytes) -> bytes:
    """Return the chunks of the pixels and the alpha of a WebP file that holds nothing else."""
    found, start = list[bytes](), _HEADER_BYTES
    while start < len(data):
        length = int.from_bytes(data[start + 4 : start + 8], "little")
        end = start + 8 + length + length % 2
        if data[start : start + 4] != b"VP8X":  # the header of files that have alpha
            found.append(data[start:end])
        start = end
    return b"".join(found)


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def _three(value: int) -> bytes:
    return value.to_bytes(3, "little")


WEBP = _Webp(
    name="WEBP",
    suffixes=(".webp",),
    max_side=16383,
    gray=False,
    profile_bytes=MAX_PROFILE_BYTES,
    held=frozenset({"exif", "xmp", "dpi"}),
    several="frames",
)
