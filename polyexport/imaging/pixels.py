"""The bytes of an untrusted image file -> validated RGB pixels.

The format is decided by the content of a file, from the registry in ``polyexport.imaging.codecs``. The size is checked
before a pixel is decoded. A truncated or damaged file is an error, never a partly gray image.
"""

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

from polyexport.errors import ImageError, reason_of
from polyexport.imaging.codecs import FORMATS, codec_of, format_by_signature
from polyexport.imaging.codecs.codec import Codec
from polyexport.imaging.traits import NO_TRAITS, Traits
from polyexport.storage.files import read_limited

__all__ = [
    "MAX_FILE_BYTES",
    "MAX_PIXELS",
    "MAX_SIDE",
    "MAX_TRAINING_SIZE",
    "DecodedImage",
    "Pixels",
    "decode",
    "inspect_header",
    "read_image",
    "to_channels",
    "to_pixels",
]

Pixels = NDArray[np.uint8]
"""uint8 [H, W, C], 0 to 255: gray (1 channel), RGB (3) or RGBA (4); RGB where nothing else is said."""

MAX_SIDE = 2048
"""Largest height and width of an image that one call of a network takes, in pixels."""

MAX_TRAINING_SIZE = 1024
"""Largest height and width of the images that a network is trained on, in pixels. Images are scaled to this size unless
a user asks for another, so that a model file that claims a large one makes every image expensive."""

MAX_PIXELS = 64 * 1024 * 1024
"""Largest number of pixels of an image that is decoded, unless the caller sets a lower limit."""

MAX_FILE_BYTES = 256 * 1024 * 1024
"""Largest image file that is read, in bytes."""

_ORIENTATION_TAG = 274
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> the operation that turns the stored image upright (EXIF 2.32, 4.6.4.A)."""

_WARNINGS_LOCK = threading.Lock()
"""Held while the warning filters, which belong to the whole process, are changed."""

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
    zlib.error,
    ImageCms.PyCMSError,
    Warning,  # where the process turns warnings into errors
)
"""Everything that pillow raises on damaged or hostile files, besides UnidentifiedImageError."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedImage:
    """An image in the form that a model takes."""

    pixels: Pixels
    """uint8 [H, W, channels], upright, RGB with alpha composited on white unless other channels were asked for;
    read-only."""

    warnings: tuple[str, ...] = ()
    """One line for each thing that was dropped from the file, such as further frames or broken EXIF data."""

    traits: Traits = NO_TRAITS
    """Traits of the file, as far as they were asked for."""


def read_image(path: Path, *, channels: int = 3) -> DecodedImage:
    """Read and decode one regular file, as ``decode`` does; a pipe or a device is refused without blocking.

    Raises:
        ImageError: The file is unreadable, not a regular file, too large, or no image of a known format.
    """
    try:
        data = read_limited(path, MAX_FILE_BYTES)
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror or error})", remedy="give a readable image file") from error
    return decode(data, channels=channels)


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS, channels: int = 3) -> DecodedImage:
    """Decode the first frame of an image file.

    Args:
        data: The whole file.
        max_pixels: Largest width times height that is accepted.
        channels: Channels of the result; see ``to_pixels``.

    Raises:
        ImageError: The data are empty, truncated, corrupt or of an unknown format, or the image has more than
            ``max_pixels`` pixels.
    """
    notes: list[str] = []
    with _opened(data, max_pixels) as (image, codec):
        codec.check_file(data)
        if getattr(image, "is_animated", False):
            notes.append("only the first frame is used")
            image.seek(0)
        box = codec.drawn_box(image)
        image.load()
        if image.mode == "P":
            _check_palette(image)
        pixels = to_pixels(image, notes, channels=channels)
    if box and box != (0, 0, pixels.shape[1], pixels.shape[0]):
        left, top, right, bottom = box
        white = np.full_like(pixels, 255)  # with alpha, white that is opaque
        white[top:bottom, left:right] = pixels[top:bottom, left:right]
        pixels = white
    pixels.setflags(write=False)
    return DecodedImage(pixels=pixels, warnings=tuple(notes))


def inspect_header(data: bytes) -> tuple[int, int]:
    """Return the upright width and height of an image in pixels, as ``decode`` would give them, from its header alone.

    The data behind the header are not read: a truncated file still has its size.

    Raises:
        ImageError: The data are empty or of an unknown format, the header is broken, or the image has more than
            ``MAX_PIXELS`` pixels.
    """
    with _opened(data) as (image, codec):
        width, height = image.size
        # Asking pillow for the EXIF data of a file that has none in its header may decode the whole file.
        if "exif" in image.info and not codec.orientation_in_tags and _orientation(image, []) >= 5:
            width, height = height, width
    return width, height


@contextmanager
def _opened(data: bytes, max_pixels: int = MAX_PIXELS) -> Iterator[tuple[Image.Image, Codec]]:
    """Open an image, check its size and yield it with its codec; errors inside the block become ImageErrors."""
    if not data:
        raise ImageError("the file is empty", remedy="write it again")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(*image.size, max_pixels)
            codec = codec_of(image.format)
            for width, height in codec.extra_sizes(image):
                _check_size(width, height, max_pixels)
            yield image, codec
    except UnidentifiedImageError as error:
        if name := format_by_signature(data):
            reason = f"its {name} header cannot be read"
            raise ImageError(f"corrupt or truncated ({reason})", remedy="write the file again") from error
        raise ImageError("no image of a known format", remedy=f"known formats: {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:  # pillow's own limit, for what claims to be far larger
        raise ImageError(f"more pixels than the limit of {max_pixels}", remedy="shrink the image") from error
    except _DECODE_ERRORS as error:
        raise ImageError(f"corrupt or truncated ({reason_of(error)})", remedy="write the file again") from error


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageError(f"{width}x{height} pixels, more than the limit of {max_pixels}", remedy="shrink the image")


def _check_palette(image: Image.Image) -> None:
    """Raise ValueError if a pixel has an index that is outside of the palette, which pillow would show as black."""
    colors = len(image.getpalette() or ()) // 3
    last = image.getextrema()[1]
    if isinstance(last, int | float) and last >= colors:
        raise ValueError(f"a pixel of color {last} in a palette of {colors}")


def to_pixels(image: Image.Image, notes: list[str] | None = None, *, channels: int = 3) -> Pixels:
    """Convert a pillow image of any mode to upright pixels.

    Gray values of more than 8 bits are scaled to 8 bits.

    Args:
        image: A pillow image in any mode.
        notes: A list that gets one line for each thing that was dropped.
        channels: 3 for RGB, with alpha composited on white; 1 for the luma (BT.601) of that; 4 for RGBA, opaque where
            the image has no alpha.

    Returns:
        uint8 [H, W, channels], 0 to 255.
    """
    notes = [] if notes is None else notes
    image.load()  # also turns an image upright whose orientation is among the tags of its format
    transpose = _TRANSPOSES.get(_orientation(image, notes))
    upright = image if transpose is None else image.transpose(transpose)
    if upright.mode.startswith("I") or upright.mode == "F":
        return to_channels(_from_deep_gray(upright, image, notes), channels)
    if upright.mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        upright = ImageCms.profileToProfile(upright, *profiles, outputMode="RGB") or upright
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        if channels == 4:
            return np.asarray(rgba)
        upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return to_channels(np.asarray(upright if upright.mode == "RGB" else upright.convert("RGB")), channels)


def to_channels(pixels: Pixels, channels: int) -> Pixels:
    """Convert pixels to another number of channels.

    Args:
        pixels: uint8 [H, W, C], gray, RGB or RGBA.
        channels: 1 for luma (BT.601, in integers as pillow computes it), 3 for RGB, 4 for RGBA, opaque if there was no
            alpha. Alpha is left out, not composited.

    Returns:
        uint8 [H, W, channels]; the same array if it has these channels.
    """
    if pixels.shape[2] == channels:
        return pixels
    if channels == 1:
        return np.asarray(Image.fromarray(np.ascontiguousarray(pixels[..., :3])).convert("L"))[..., None]
    colors = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[..., :3]
    if channels == 3:
        return colors
    return np.concatenate([colors, np.full_like(colors[..., :1], 255)], axis=2)


def _orientation(image: Image.Image, notes: list[str]) -> int:
    """Return the EXIF orientation, 1 to 8; broken EXIF data are noted and count as upright (1)."""
    if "exif" not in image.info and not codec_of(image.format).orientation_in_tags:
        return 1
    # pillow reports broken EXIF data as warnings, and which warnings are shown belongs to the whole process.
    with _WARNINGS_LOCK, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if "exif" in image.info:
                Image.Exif().load(image.info["exif"])  # once more: pillow may have read and cached it on opening
            orientation, broken = image.getexif().get(_ORIENTATION_TAG, 1), False
        except _DECODE_ERRORS:
            orientation, broken = 1, True
    if broken or caught:
        notes.append("broken EXIF data is ignored")
    return orientation if isinstance(orientation, int) and orientation in _TRANSPOSES else 1


def _from_deep_gray(image: Image.Image, opened: Image.Image, notes: list[str]) -> Pixels:
    """Scale gray values of more than 8 bits to 8 bits.

    Args:
        image: The upright image, in mode I or F.
        opened: The image as it was opened, which still has the tags that turning it upright loses.
        notes: A list that gets one line for each thing that was dropped.

    Returns:
        uint8 [H, W, 3], three equal channels.
    """
    stored = codec_of(opened.format).deep_gray(opened)
    values = np.asarray(image)
    if image.mode == "I" and not stored.signed and stored.bits == 32:
        values = values.view(np.uint32)
    unknown = None
    if image.mode == "F":
        unknown = np.isnan(values)
        if unknown.any():
            notes.append("values that are not numbers are white")
    peak = float(np.max(values, initial=0.0, where=True if unknown is None else np.isfinite(values)))
    scales: tuple[float, ...]
    if image.mode == "F":
        scales = (1.0, 255.0, 65535.0)
    elif stored.bits == 32:
        scales = (255.0, 65535.0, float(2**31 - 1), float(2**32 - 1))
    else:
        scales = (float(2 ** (stored.bits - stored.signed) - 1),)
    full_scale = next((scale for scale in scales if peak <= scale), peak)
    finite = np.nan_to_num(values.astype(np.float32), posinf=full_scale, neginf=0.0)
    gray = np.clip(np.rint(finite * np.float32(255 / full_scale)), 0, 255).astype(np.uint8)
    if stored.white_is_zero:
        gray = 255 - gray
    if unknown is not None:
        gray[unknown] = 255
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        gray = np.where(values == transparent, np.uint8(255), gray)
    return np.repeat(gray[..., None], 3, axis=2)
