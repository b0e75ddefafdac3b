"""Frames of an animated PNG (https://www.w3.org/TR/png-3/, 4.9), composed one after the other.

Pillow composes them, too, but blends half-transparent frames wrongly, starts from the image that stands for the
animation where that is no part of it, and clears frames without alpha to black.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polyexport.imaging.opening import check_palette

__all__ = ["composed_frames"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CONTROL = struct.Struct(">IIIIIHHBB")  # number, width, height, left, top, delay as a fraction, disposal, blending
_GRAY_TYPES = (0, 4)  # color types of the header without and with alpha
_CLEAR, _RESTORE = 1, 2
_OVER = 1


@dataclass(frozen=True, slots=True)
class _Part:
    """One frame as it is stored."""

    control: bytes
    data: list[bytes] = field(default_factory=list)


def composed_frames(data: bytes) -> Iterator[tuple[Image.Image, float]]:
    """Yield the frames of an animated PNG file in the colors of the file, and their durations in milliseconds.

    Args:
        data: The whole file, whose checksums are right and whose size is checked.

    Yields:
        An image of the size of the file, in mode RGBA, or LA if the file is gray; and its duration.

    Raises:
        ValueError: Frames are missing, damaged or outside of the image.
    """
    header, shared, parts = _parts(data)
    width, height, kind = struct.unpack_from(">IIxB", header)
    canvas = np.zeros((height, width, 4), np.uint8)
    for part in parts:
        _, columns, rows, left, top, delay, divisor, disposal, blending = _CONTROL.unpack(part.control)
        if not (rows and columns and left + columns <= width and top + rows <= height):
            raise ValueError("a frame is outside of the image")
        drawn = _decoded(struct.pack(">II", columns, rows) + header[8:], shared, part.data)
        region = canvas[top : top + rows, left : left + columns]
        before = region.copy()
        if blending == _OVER:
            drawn = np.asarray(Image.alpha_composite(Image.fromarray(before), Image.fromarray(drawn)))
        region[:] = drawn
        image = Image.fromarray(canvas.copy())
        if kind in _GRAY_TYPES:
            image = Image.merge("LA", (image.getchannel("R"), image.getchannel("A")))
        yield image, 1000.0 * delay / (divisor or 100)
        if disposal == _CLEAR:
            region[:] = 0
        elif disposal == _RESTORE:
            region[:] = before


def _parts(data: bytes) -> tuple[bytes, bytes, list[_Part]]:
    """Return the body of the header, the chunks that all frames share, and the frames."""
    header, shared, parts, claimed, number = b"", b"", list[_Part](), 0, 0
    start, name = len(_SIGNATURE), b""
    while name != b"IEND":
        length = int.from_bytes(data[start : start + 4], "big")
        name, body = data[start + 4 : start + 8], data[start + 8 : start + 8 + length]
        if name == b"IHDR":
            header = body
        elif name in (b"PLTE", b"tRNS"):
            shared += data[start : start + 12 + length]
        elif name == b"acTL":
            claimed = int.from_bytes(body[:4], "big")
        elif name in (b"fcTL", b"fdAT"):
            if int.from_bytes(body[:4], "big") != number or (name == b"fcTL" and length != _CONTROL.size):
                raise ValueError("the frames are out of order")
            number += 1
            if name == b"fcTL":
                parts.append(_Part(body))
            elif parts:
                parts[-1].data.append(body[4:])
        elif name == b"IDAT" and parts:  # else it holds an image that is no part of the animation
            parts[-1].data.append(body)
        start += 12 + length
    if len(parts) != claimed or not all(part.data for part in parts):
        raise ValueError("a frame is missing")
    return header, shared, parts


def _decoded(header: bytes, shared: bytes, data: list[bytes]) -> NDArray[np.uint8]:
    """Decode one frame as a file of its own: uint8 [H, W, 4]."""
    file = _SIGNATURE + _chunk(b"IHDR", header) + shared + _chunk(b"IDAT", b"".join(data)) + _chunk(b"IEND", b"")
    with Image.open(io.BytesIO(file), formats=("PNG",)) as image:
        image.load()
        if image.mode == "P":
            check_palette(image)
        if not image.mode.startswith("I"):
            return np.asarray(image.convert("RGBA"))
        values = np.asarray(image).astype(np.uint32)
        gray = ((values * 255 + 32767) // 65535).astype(np.uint8)
        key = image.info.get("transparency", -1)
        return np.stack([gray, gray, gray, np.where(values == key, np.uint8(0), np.uint8(255))], axis=2)


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
