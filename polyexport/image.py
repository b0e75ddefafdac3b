"""One image file: bytes -> validated RGB pixels -> PNG bytes.

Every input is untrusted. The format is decided by content, from a fixed list; the size is checked before a pixel is
decoded; a truncated file is an error, never a half-grey picture.
"""

import io
import os
import stat
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from polyexport.errors import ImageError

__all__ = ["FORMATS", "MAX_FILE_BYTES", "MAX_PIXELS", "SUFFIXES", "DecodedImage", "decode", "encode_png", "read_image"]

Pixels = NDArray[np.uint8]
"""[H, W, 3], RGB, 0 to 255."""

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
SUFFIXES = frozenset(
    (".png", ".apng", ".jpg", ".jpeg", ".jpe", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm")
)
"""Names that a folder scan takes for images, in lower case. What a file holds is decided by its content."""

MAX_PIXELS = 64 * 1024 * 1024
MAX_FILE_BYTES = 256 * 1024 * 1024
_PNG_LEVEL = 1  # flat colours: larger by a few per cent than level 6, in half the time

# What pillow raises on hostile files, beyond OSError and UnidentifiedImageError.
_DECODE_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    NotImplementedError,
    EOFError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    MemoryError,
    RuntimeError,
    ZeroDivisionError,
    struct.error,
    ImageCms.PyCMSError,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedImage:
    """An image as the model takes it."""

    pixels: Pixels
    """uint8 [H, W, 3], RGB, upright, alpha composited on white; read-only."""

    warnings: tuple[str, ...] = ()
    """What was dropped on the way: further frames, broken EXIF data."""


def read_image(path: Path) -> DecodedImage:
    """Read and decode one regular file; never blocks on a pipe or a device.

    Raises:
        ImageError: unreadable, not a regular file, too large, or no image of a known format.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ImageError("not a regular file", remedy="give a file or a folder")
            if status.st_size > MAX_FILE_BYTES:
                raise ImageError(
                    f"{status.st_size} bytes, more than the limit of {MAX_FILE_BYTES}", remedy="shrink the image"
                )
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror or error})", remedy="check the file and its mode") from error
    return decode(data)


def decode(data: bytes) -> DecodedImage:
    """Decode the first frame of an image file.

    Raises:
        ImageError: empty, truncated or corrupt data, an unknown format, or more than ``MAX_PIXELS`` pixels.
    """
    if not data:
        raise ImageError("the file is empty", remedy="write it again")
    notes: list[str] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pillow warns of what is decided here: size, EXIF, ICC
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise ImageError(
                        f"{width}x{height} pixels, more than the limit of {MAX_PIXELS}", remedy="shrink the image"
                    )
                if getattr(image, "is_animated", False):
                    notes.append("only the first frame is used")
                    image.seek(0)
                image.load()
                upright = _upright(image, notes)
                pixels = _to_rgb(upright)
    except UnidentifiedImageError as error:
        raise ImageError("no image of a known format", remedy=f"known formats: {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:  # pillow's own limit, for what claims to be far larger
        raise ImageError(f"more pixels than the limit of {MAX_PIXELS}", remedy="shrink the image") from error
    except _DECODE_ERRORS as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise ImageError(f"corrupt or truncated ({reason})", remedy="write the file again") from error
    return DecodedImage(pixels=pixels, warnings=tuple(notes))


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except _DECODE_ERRORS:
        notes.append("broken EXIF data is ignored")
        return image


def _to_rgb(image: Image.Image) -> Pixels:
    """Any pillow mode -> uint8 [H, W, 3]."""
    if image.mode.startswith("I") or image.mode == "F":
        return _from_deep_grey(image)
    if image.mode == "LAB":
        image = (
            ImageCms.profileToProfile(
                image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            or image
        )
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        page = Image.new("RGBA", rgba.size, "white")
        image = Image.alpha_composite(page, rgba)
    return np.asarray(image.convert("RGB"))


def _from_deep_grey(image: Image.Image) -> Pixels:
    """Integers of 16 bits, or floats in [0, 1], [0, 255] or [0, 65535] by their maximum, -> 8 bits."""
    values = np.asarray(image, dtype=np.float64)
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    peak = float(values.max(initial=0.0))
    if image.mode != "F":
        full_scale = 65535.0 if image.mode != "I" or peak <= 65535 else peak
    else:
        full_scale = next((scale for scale in (1.0, 255.0, 65535.0) if peak <= scale), peak)
    grey = np.clip(np.rint(values * (255.0 / full_scale)), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def encode_png(pixels: Pixels) -> bytes:
    """uint8 [H, W, 3], RGB -> the bytes of a PNG; equal pixels give equal bytes."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG", compress_level=_PNG_LEVEL)
    return buffer.getvalue()
