"""Writer of TIFF 6.0: pages in strips, with deflate and the horizontal predictor or as they are; EXIF data as tags.

Pillow leaves compressed TIFF files to libtiff, which does not write the directories that EXIF data consist of.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from polyexport.errors import ImageError
from polyexport.imaging.encoders.encoder import Encoder
from polyexport.imaging.encoders.exif import tags_of
from polyexport.imaging.encoders.times import Times
from polyexport.imaging.output_format import OutputFormat
from polyexport.imaging.profiles import MAX_PROFILE_BYTES
from polyexport.imaging.traits import Traits

__all__ = ["TIFF"]

_HEADER = b"II*\0" + struct.pack("<I", 8)  # the directory follows at once
_MAX_BYTES = 2**32 - 2**24  # offsets have 32 bits; the rest is for the directory
_STRIP_BYTES = 1 << 18
_DEFAULT_LEVEL = 6

# Numbers of tags, and values of them (TIFF 6.0; Adobe Photoshop TIFF Technical Notes).
_WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC, _STRIP_OFFSETS, _SAMPLES = 256, 257, 258, 259, 262, 273, 277
_ROWS_PER_STRIP, _STRIP_BYTE_COUNTS, _X_RESOLUTION, _Y_RESOLUTION, _PLANES, _UNIT = 278, 279, 282, 283, 284, 296
_PREDICTOR, _EXTRA_SAMPLES, _XMP, _ICC_PROFILE = 317, 338, 700, 34675
_UNCOMPRESSED, _DEFLATE, _BLACK_IS_ZERO, _RGB, _ONE_PLANE, _INCH, _DIFFERENCES, _ALPHA = 1, 8, 1, 2, 1, 2, 2, 2


class _Tiff(Encoder):
    def write(self, pixels: NDArray[np.uint8], output: OutputFormat, traits: Traits, notes: list[str]) -> bytes:
        """See ``Encoder``."""
        return b"".join([_HEADER, *_page(pixels, output, traits, notes, len(_HEADER))])

    def write_frames(
        self,
        frames: Sequence[NDArray[np.uint8]],
        times: Times,
        output: OutputFormat,
        traits: Traits,
        notes: list[str],
    ) -> bytes:
        """See ``Encoder``. The profile and the resolution, which speak of pixels, are written to every page."""
        if any(times.durations_ms):
            notes.append("TIFF holds pages, and no durations: left out")
        parts, end = [_HEADER], len(_HEADER)
        for number, frame in enumerate(frames):
            page = _page(frame, output, traits, notes, end)
            directory = bytearray(page[0])
            end += sum(map(len, page))
            page.append(b"\0" * (end % 2))  # directories begin at even offsets
            end += end % 2
            if number + 1 < len(frames):
                struct.pack_into("<I", directory, 2 + 12 * int.from_bytes(directory[:2], "little"), end)
            parts += [bytes(directory), *page[1:]]
            traits = replace(traits, exif=b"", xmp=b"")
        return b"".join(parts)


def _page(
    pixels: NDArray[np.uint8], output: OutputFormat, traits: Traits, notes: list[str], offset: int
) -> list[bytes]:
    """Return the directory of a page, which begins at an offset in the file, and the strips that follow it."""
    height, width, channels = pixels.shape
    level = _DEFAULT_LEVEL if output.compression is None else output.compression
    rows = max(1, min(height, _STRIP_BYTES // (width * channels)))
    strips = [_strip(pixels[top : top + rows], level) for top in range(0, height, rows)]
    counts = [len(strip) for strip in strips]
    if offset + sum(counts) > _MAX_BYTES:
        raise ImageError("TIFF holds at most 4 GB", remedy="use --format png")
    tags: dict[int, Any] = tags_of(traits.exif, notes) if traits.exif else {}
    tags |= {
        _WIDTH: width,
        _LENGTH: height,
        _BITS: (8,) * channels,
        _COMPRESSION: _DEFLATE if level else _UNCOMPRESSED,
        _PHOTOMETRIC: _RGB if channels >= 3 else _BLACK_IS_ZERO,
        _STRIP_OFFSETS: tuple(np.cumsum([0, *counts[:-1]]).tolist()),  # pillow adds where the directory ends
        _SAMPLES: channels,
        _ROWS_PER_STRIP: rows,
        _STRIP_BYTE_COUNTS: tuple(counts),
        _PLANES: _ONE_PLANE,
    }
    if level:
        tags[_PREDICTOR] = _DIFFERENCES
    if channels in (2, 4):
        tags[_EXTRA_SAMPLES] = _ALPHA
    if traits.dpi:
        tags |= {_X_RESOLUTION: traits.dpi[0], _Y_RESOLUTION: traits.dpi[1], _UNIT: _INCH}
    if traits.xmp:
        tags[_XMP] = traits.xmp
    if traits.icc_profile:
        tags[_ICC_PROFILE] = traits.icc_profile
    return [_directory(tags, offset), *strips]


TIFF = _Tiff(
    name="TIFF",
    suffixes=(".tiff", ".tif"),
    max_side=2**31 - 1,
    profile_bytes=MAX_PROFILE_BYTES,
    held=frozenset({"exif", "xmp", "dpi"}),
    several="pages",
)


def _strip(rows: NDArray[np.uint8], level: int) -> bytes:
    """Return rows, uint8 [H, W, C], as the bytes of a strip: of each pixel its difference from the one on its left."""
    if not level:
        return rows.tobytes()
    differences = rows.copy()
    differences[:, 1:] -= rows[:, :-1]
    return zlib.compress(differences.data, level)


def _directory(tags: dict[int, Any], offset: int) -> bytes:
    directory = ImageFileDirectory_v2(_HEADER)
    for tag, value in tags.items():
        directory[tag] = value
    return directory.tobytes(offset)
