"""Writer of GIF: 256 colors, or 255 and a transparent one."""

import io
import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polyexport.imaging.encoders.encoder import Encoder
from polyexport.imaging.encoders.times import Times
from polyexport.imaging.matte import on_white
from polyexport.imaging.output_format import OutputFormat
from polyexport.imaging.traits import Traits

__all__ = ["GIF"]

_CLEAR = 255
"""Index of the transparent color, where there is one."""

_STEP_MS, _MAX_STEPS = 10, 65535
_MAX_REPETITIONS = 65535

# Parts of a file (GIF 89a, 18 to 27; the loop is an extension of Netscape's).
_SCREEN_FLAGS, _SCREEN_BYTES, _FRAME_BYTES = 10, 13, 10
_NO_TABLE, _HAS_TABLE, _KEEP, _CLEAR_AREA = 0, 128, 1, 2
_EXTENSION, _CONTROL, _TRAILER = b"!", b"\xf9\x04", b";"
_LOOP = b"!\xff\x0bNETSCAPE2.0\x03\x01"

_OPAQUE = 128
"""Lowest alpha of a pixel that is opaque: GIF has nothing between opaque and transparent."""


class _Gif(Encoder):
    def write(self, pixels: NDArray[np.uint8], output: OutputFormat, traits: Traits, notes: list[str]) -> bytes:
        """See ``Encoder``."""
        clear = pixels[..., -1] < _OPAQUE if pixels.shape[2] == 4 else None
        if clear is not None and not np.isin(pixels[..., 3], (0, 255)).all():
            notes.append("GIF holds no partial transparency: made opaque on white, or transparent")
        colors = Image.fromarray(np.ascontiguousarray(pixels if clear is None else on_white(pixels)))
        count = 256 if clear is None else _CLEAR
        if colors.getcolors(count) is None:
            notes.append(f"GIF holds {count} colors: the others are replaced by similar ones")
        image = colors.quantize(count, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        buffer = io.BytesIO()
        if clear is None:
            image.save(buffer, "GIF")
        else:
            indexes = np.where(clear, np.uint8(_CLEAR), np.asarray(image))
            palette = bytes(image.getpalette() or ()).ljust(3 * (_CLEAR + 1), b"\xff")
            image = Image.fromarray(indexes)
            image.putpalette(palette)
            image.save(buffer, "GIF", transparency=_CLEAR)
        return buffer.getvalue()

    def write_frames(
        self,
        frames: Sequence[NDArray[np.uint8]],
        times: Times,
        output: OutputFormat,
        traits: Traits,
        notes: list[str],
    ) -> bytes:
        """See ``Encoder``. Every frame is stored whole, in colors of its own: pillow would leave out equal ones."""
        steps = times.in_steps("GIF", notes, step_ms=_STEP_MS, most=_MAX_STEPS)
        plays = times.held_plays("GIF", notes, most=_MAX_REPETITIONS + 1)
        height, width, channels = frames[0].shape
        parts = [b"GIF89a", struct.pack("<HHBBB", width, height, _NO_TABLE, 0, 0)]
        if plays != 1:  # an animation without this is played once; the number is that of the repetitions
            parts.append(_LOOP + struct.pack("<H", plays and plays - 1) + b"\0")
        disposal = _KEEP if channels == 3 else _CLEAR_AREA
        for frame, count in zip(frames, steps, strict=True):
            parts.append(_as_frame(self.write(frame, output, traits, notes), disposal, count))
        return b"".join([*parts, _TRAILER])


GIF = _Gif(name="GIF", suffixes=(".gif",), max_side=65535, gray=False, several="frames")


def _as_frame(data: bytes, disposal: int, steps: int) -> bytes:
    """Return the picture of a GIF file that pillow wrote as a frame, whose colors are its own.

    Args:
        data: the file.
        disposal: what becomes of the frame before the next one.
        steps: its duration.
    """
    table_bits = data[_SCREEN_FLAGS] & 7
    table = data[_SCREEN_BYTES : _SCREEN_BYTES + 3 * 2 ** (table_bits + 1)]
    start = _SCREEN_BYTES + len(table)
    # A reader that clears to the background where a frame names no transparent color sees one that no pixel has.
    clear = bytes([_CLEAR]) if disposal == _CLEAR_AREA else b""
    while data[start : start + 1] == _EXTENSION:  # pillow writes none but that of a transparent color
        if data[start + 1 : start + 3] == _CONTROL:
            clear = data[start + 6 : start + 7]
        start += 8
    control = _EXTENSION + _CONTROL + struct.pack("<BH", disposal << 2 | bool(clear), steps) + (clear or b"\0") + b"\0"
    flags = data[start + _FRAME_BYTES - 1] | _HAS_TABLE | table_bits
    pixels = data[start + _FRAME_BYTES : -len(_TRAILER)]
    return b"".join([control, data[start : start + _FRAME_BYTES - 1], bytes([flags]), table, pixels])
