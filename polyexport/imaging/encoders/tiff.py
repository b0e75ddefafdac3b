"""Writer of TIFF 6.0: strips, deflate with the horizontal predictor or no compression, and EXIF data as tags.

Pillow leaves compressed TIFF files to libtiff, which does not write the directories that EXIF data consist of.
"""

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from polyexport.errors import ImageError
from polyexport.imaging.encoders.encoder import Encoder
from polyexport.imaging.encoders.exif import tags_of
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
        height, width, channels = pixels.shape
        level = _DEFAULT_LEVEL if output.compression is None else output.compression
        rows = max(1, min(height, _STRIP_BYTES // (width * channels)))
        strips = [_strip(pixels[top : top + rows], level) for top in range(0, height, rows)]
        counts = [len(strip) for strip in strips]
        if sum(counts) > _MAX_BYTES:
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
        return b"".join([_HEADER, _directory(tags), *strips])


TIFF = _Tiff(
    name="TIFF",
    suffixes=(".tiff", ".tif"),
    max_side=2**31 - 1,
    profile_bytes=MAX_PROFILE_BYTES,
    held=frozenset({"exif", "xmp", "dpi"}),
)


def _strip(rows: NDArray[np.uint8], level: int) -> bytes:
    """Return rows, uint8 [H, W, C], as the bytes of a strip: of each pixel its difference from the one on its left."""
    if not level:
        return rows.tobytes()
    differences = rows.copy()
    differences[:, 1:] -= rows[:, :-1]
    return zlib.compress(differences.data, level)


def _directory(tags: dict[int, Any]) -> bytes:
    directory = ImageFileDirectory_v2(_HEADER)
    for tag, value in tags.items():
        directory[tag] = value
    return directory.tobytes(len(_HEADER))
