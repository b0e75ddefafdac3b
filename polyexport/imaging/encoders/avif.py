"""Writer of AVIF, lossy. Its resolution is an entry of the EXIF data.

The format allows 65536 pixels a side, but no program that uses libavif as it comes reads more than is written here.
"""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyexport.errors import ImageError
from polyexport.imaging.encoders.encoder import Encoder, save
from polyexport.imaging.encoders.exif import exif_with_resolution
from polyexport.imaging.encoders.times import Times
from polyexport.imaging.output_format import DEFAULT_QUALITY, OutputFormat
from polyexport.imaging.profiles import MAX_PROFILE_BYTES
from polyexport.imaging.traits import Traits

__all__ = ["AVIF"]

_MAX_SIDE, _MAX_PIXELS = 32768, 2**28  # limits of libavif's readers

# Parts of a sequence (ISO/IEC 14496-12, 8.2.2, 8.3.2, 8.4.2; all in version 1).
_BOX_BYTES = 8
_TIMES = slice(12, 28)  # when it was made and changed
_DURATIONS = {b"mvhd": 32, b"tkhd": 36, b"mdhd": 0}  # place of the duration of all plays, in boxes with times
_ENDLESSLY = 2**64 - 1


class _Avif(Encoder):
    def write(self, pixels: NDArray[np.uint8], output: OutputFormat, traits: Traits, notes: list[str]) -> bytes:
        """See ``Encoder``."""
        return self._saved([pixels], {}, output, traits, notes)

    def write_frames(
        self,
        frames: Sequence[NDArray[np.uint8]],
        times: Times,
        output: OutputFormat,
        traits: Traits,
        notes: list[str],
    ) -> bytes:
        """See ``Encoder``."""
        if not all(times.durations_ms):
            notes.append("AVIF holds no duration of 0 ms: made 1 ms")
        durations = [max(1, each) for each in times.durations_ms]
        data = self._saved(frames, {"duration": durations}, output, traits, notes)
        return _timed(data, times.plays * sum(durations) or _ENDLESSLY)

    def _saved(
        self,
        frames: Sequence[NDArray[np.uint8]],
        options: dict[str, Any],
        output: OutputFormat,
        traits: Traits,
        notes: list[str],
    ) -> bytes:
        pixels = frames[0]
        if pixels.shape[0] * pixels.shape[1] > _MAX_PIXELS:
            raise ImageError(f"AVIF holds at most {_MAX_PIXELS} pixels", remedy="use --format png or tiff")
        if pixels.shape[2] == 2:
            frames = [each[..., [0, 0, 0, 1]] for each in frames]
        quality = output.quality or DEFAULT_QUALITY
        colors = "4:4:4" if quality >= DEFAULT_QUALITY else "4:2:0"
        return save(
            frames[0],
            "AVIF",
            others=frames[1:],
            **options,
            quality=quality,
            subsampling="4:0:0" if pixels.shape[2] == 1 else colors,
            max_threads=1,  # outputs are encoded side by side; and the tiles of a picture depend on the threads
            icc_profile=traits.icc_profile,
            exif=exif_with_resolution(traits.exif, traits.dpi, notes),
            xmp=traits.xmp,
        )


def _timed(data: bytes, duration: int) -> bytes:
    """Return a sequence with the time for which it is played, and without the time at which it was made.

    Pillow says neither to libavif, which writes the time of day.

    Args:
        data: the file, from libavif.
        duration: duration of all plays, in the unit of the durations of frames.
    """
    timed, places = bytearray(data), [(0, len(data))]
    while places:
        start, end = places.pop()
        while start < end:
            size, name = struct.unpack_from(">I4s", timed, start)
            if name in (b"moov", b"trak", b"mdia"):
                places.append((start + _BOX_BYTES, start + size))
            elif name in _DURATIONS:
                timed[start + _TIMES.start : start + _TIMES.stop] = bytes(_TIMES.stop - _TIMES.start)
                if place := _DURATIONS[name]:
                    struct.pack_into(">Q", timed, start + place, duration)
            start += size or end
    return bytes(timed)


AVIF = _Avif(
    name="AVIF",
    suffixes=(".avif", ".avifs"),
    max_side=_MAX_SIDE,
    profile_bytes=MAX_PROFILE_BYTES,
    held=frozenset({"exif", "xmp", "dpi"}),
    several="frames",
)
