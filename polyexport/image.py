"""One image file: bytes -> validated RGB pixels -> PNG bytes.

Every input is untrusted. The format is decided by content, from a fixed list; the size is checked before a pixel is
decoded; a truncated file is an error, never a half-grey picture.
"""

import io
import struct
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from polyexport.errors import ImageError, reason_of
from polyexport.files import read_limited

__all__ = [
    "FORMATS",
    "MAX_FILE_BYTES",
    "MAX_PIXELS",
    "SUFFIXES",
    "DecodedImage",
    "Pixels",
    "decode",
    "encode_png",
    "read_image",
    "to_pixels",
]

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

_WARNINGS_LOCK = threading.Lock()

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
        data = read_limited(path, MAX_FILE_BYTES)
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror or error})", remedy="give a readable image file") from error
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
            pixels = to_pixels(image, notes)
    except UnidentifiedImageError as error:
        raise ImageError("no image of a known format", remedy=f"known formats: {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:  # pillow's own limit, for what claims to be far larger
        raise ImageError(f"more pixels than the limit of {MAX_PIXELS}", remedy="shrink the image") from error
    except _DECODE_ERRORS as error:
        raise ImageError(f"corrupt or truncated ({reason_of(error)})", remedy="write the file again") from error
    return DecodedImage(pixels=pixels, warnings=tuple(notes))


def to_pixels(image: Image.Image, notes: list[str] | None = None) -> Pixels:
    """Any pillow image -> uint8 [H, W, 3]: upright, alpha on white, deep greys scaled to 8 bits.

    Args:
        image: loaded, in any mode.
        notes: gets a line for each thing that was dropped.
    """
    upright = _upright(image, [] if notes is None else notes)
    if upright.mode.startswith("I") or upright.mode == "F":
        return _from_deep_grey(upright, image)
    if upright.mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        upright = ImageCms.profileToProfile(upright, *profiles, outputMode="RGB") or upright
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return np.asarray(upright.convert("RGB"))


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    if "exif" not in image.info and image.format != "TIFF":
        return image
    # pillow reports broken EXIF data as warnings, and which warnings are shown belongs to the whole process.
    with _WARNINGS_LOCK, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if "exif" in image.info:
                Image.Exif().load(image.info["exif"])  # once more: pillow may have read and cached it on opening
            upright = ImageOps.exif_transpose(image)
        except _DECODE_ERRORS:
            upright = None
    if upright is None or caught:
        notes.append("broken EXIF data is ignored")
    return upright or image


def _from_deep_grey(image: Image.Image, opened: Image.Image) -> Pixels:
    """Greys of more than 8 bits -> uint8 [H, W, 3]; ``opened`` has the tags that turning the image loses."""
    tags = getattr(opened, "tag_v2", {})
    (bits, *_), (sample_format, *_) = _tuple(tags.get(258, 16)), _tuple(tags.get(339, 1))
    values = np.asarray(image)
    if image.mode == "I" and sample_format == 1 and bits == 32:
        values = values.view(np.uint32)
    peak = float(np.nanmax(values, initial=0.0))
    scales: tuple[float, ...]
    if image.mode == "F":
        scales = (1.0, 255.0, 65535.0)
    elif bits == 32:
        scales = (255.0, 65535.0, float(2**31 - 1), float(2**32 - 1))
    else:
        scales = (float(2 ** (bits - (sample_format == 2)) - 1),)
    full_scale = next((scale for scale in scales if peak <= scale), peak)
    scaled = np.nan_to_num(values.astype(np.float32), posinf=full_scale, neginf=0.0) * np.float32(255 / full_scale)
    grey = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    if tags.get(262) == 0:  # white is zero
        grey = 255 - grey
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey = np.where(values == transparent, np.uint8(255), grey)
    return np.repeat(grey[..., None], 3, axis=2)


def _tuple(tag: Any) -> tuple[Any, ...]:
    return tag if isinstance(tag, tuple) and tag else (tag,)


def encode_png(pixels: Pixels) -> bytes:
    """uint8 [H, W, 3], RGB -> the bytes of a PNG; equal pixels give equal bytes."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG", compress_level=_PNG_LEVEL)
    return buffer.getvalue()
