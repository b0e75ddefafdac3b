"""PNG (https://www.w3.org/TR/png-3/): checksums that pillow does not compare, and the writer of all outputs."""

import re
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polyexport.imaging.codecs.codec import Codec

__all__ = ["FILTER_UP", "PNG", "PNG_SIGNATURE", "encode_png", "png_chunk", "png_header"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BIT_DEPTH = 24  # place of the bit depth in a file
FILTER_UP = 2  # each row is stored as its difference from the row above (PNG specification, 9.2)
_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> color type in the header


class _Png(Codec):
    def check_file(self, data: bytes) -> None:
        """Raise ValueError unless every chunk up to IEND is there and matches its checksum.

        Pillow compares no checksum of the pixel data and accepts a file without an end: of single flipped bits in small
        PNG files, one in five is decoded to other pixels.
        """
        view, start = memoryview(data), len(PNG_SIGNATURE)
        while True:
            end = start + 8 + int.from_bytes(data[start : start + 4], "big")
            if end + 4 > len(data):
                raise ValueError("the file ends before its image does")
            if zlib.crc32(view[start + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
                name = data[start + 4 : start + 8].decode("ascii", "backslashreplace")
                raise ValueError(f"the checksum of chunk {name} is wrong")
            if data[start + 4 : start + 8] == b"IEND":
                return
            start = end + 4

    def bits(self, image: Image.Image, data: bytes) -> int:
        """Return the bit depth of the header, which is the first chunk."""
        return 8 if image.mode == "P" else data[_BIT_DEPTH]


PNG = _Png(
    name="PNG",
    description="PNG with 1 to 16 bits per channel, gray, color, palette or alpha; of an animation the first frame",
    signature=re.escape(PNG_SIGNATURE),
    suffixes=(".png", ".apng"),
)


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode pixels as the bytes of a PNG file; equal pixels give equal bytes.

    Every row is stored as its difference from the row above, and only runs are compressed: for flat colors the result
    is as small as a search through five filters and long matches gives, in a third of the time
    (benchmarks/codecs.py).

    Args:
        pixels: uint8 [H, W, C], 0 to 255: gray (1 channel), gray and alpha (2), RGB (3) or RGBA (4).
    """
    height, width, channels = pixels.shape
    rows = pixels.reshape(height, width * channels)
    filtered = np.empty((height, 1 + width * channels), np.uint8)
    filtered[:, 0] = FILTER_UP
    filtered[:1, 1:] = rows[:1]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    compressor = zlib.compressobj(level=1, memLevel=9, strategy=zlib.Z_RLE)
    body = compressor.compress(filtered.data) + compressor.flush()
    header = png_header(height, width, channels)
    return PNG_SIGNATURE + header + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")


def png_header(height: int, width: int, channels: int) -> bytes:
    """Return the chunk IHDR of an image of 8 bits per channel, not interlaced."""
    return png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _COLOR_TYPES[channels], 0, 0, 0))


def png_chunk(name: bytes, body: bytes) -> bytes:
    """Return a chunk: its length, its name of four letters, its body and its checksum."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(name)))
