"""One image file: bytes -> validated RGB pixels -> PNG bytes.

Every input is untrusted. The format is decided by content, from a fixed list; the size is checked before a pixel is
decoded; a truncated file is an error, never a half-grey picture, and so is a PNG whose checksums do not hold.
"""

import io
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError
from PIL.GifImagePlugin import GifImageFile

from polyexport.errors import ImageError, reason_of
from polyexport.storage.files import read_limited

__all__ = [
    "FORMATS",
    "MAX_FILE_BYTES",
    "MAX_PIXELS",
    "MAX_SIDE",
    "SUFFIXES",
    "DecodedImage",
    "Pixels",
    "decode",
    "encode_png",
    "inspect_header",
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

MAX_SIDE = 2048
"""Largest height and width of an image that one call of a network takes, pixels."""

MAX_PIXELS = 64 * 1024 * 1024
MAX_FILE_BYTES = 256 * 1024 * 1024

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SIGNATURE = re.compile(
    rb"(?P<PNG>\x89PNG\r\n\x1a\n)|(?P<JPEG>\xff\xd8\xff)|(?P<BMP>BM)|(?P<GIF>GIF8[79]a)|"
    rb"(?P<TIFF>II[*+]\0|MM\0[*+])|(?P<WEBP>RIFF....WEBP)|(?P<PPM>P[1-6][\s#])",
    re.DOTALL,
)
"""How a file of each format begins."""

_TILE_WIDTH, _TILE_LENGTH, _ORIENTATION = 322, 323, 274
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns an image upright, by its orientation (EXIF 2.32, 4.6.4.A)."""

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
    zlib.error,
    ImageCms.PyCMSError,
    Warning,  # where the process turns warnings into errors
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


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS) -> DecodedImage:
    """Decode the first frame of an image file.

    Raises:
        ImageError: empty, truncated or corrupt data, an unknown format, or more than ``max_pixels`` pixels.
    """
    notes: list[str] = []
    with _opened(data, max_pixels) as image:
        if image.format == "PNG":
            _check_png(data)
        if getattr(image, "is_animated", False):
            notes.append("only the first frame is used")
            image.seek(0)
        # A GIF's frame may cover a part of it; what it leaves out is transparent, and black to pillow.
        frame = image.tile[0][1] if isinstance(image, GifImageFile) and image.tile else None
        image.load()
        if image.mode == "P":
            _check_palette(image)
        pixels = to_pixels(image, notes)
    if frame and frame != (0, 0, pixels.shape[1], pixels.shape[0]):
        left, top, right, bottom = frame
        paper = np.full_like(pixels, 255)
        paper[top:bottom, left:right] = pixels[top:bottom, left:right]
        pixels = paper
    pixels.setflags(write=False)
    return DecodedImage(pixels=pixels, warnings=tuple(notes))


def inspect_header(data: bytes) -> tuple[int, int]:
    """Width and height that ``decode`` would give, in pixels, upright, without decoding a pixel.

    What stands behind the header is not looked at: a truncated file still has its size.

    Raises:
        ImageError: empty data, an unknown format, a broken header, or more than ``MAX_PIXELS`` pixels.
    """
    with _opened(data) as image:
        width, height = image.size
        # Pillow gives the upright size of a TIFF by itself. Without "exif" it would decode a PNG to look for it.
        if "exif" in image.info and image.format != "TIFF" and _orientation(image, []) >= 5:
            width, height = height, width
    return width, height


@contextmanager
def _opened(data: bytes, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """An image whose header is read and whose size is checked; errors inside the block are ImageErrors."""
    if not data:
        raise ImageError("the file is empty", remedy="write it again")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(*image.size, max_pixels)
            if image.format == "TIFF":  # a tile is decoded whole, however little of it the image shows
                tags = getattr(image, "tag_v2", {})
                _check_size(tags.get(_TILE_WIDTH, 0), tags.get(_TILE_LENGTH, 0), max_pixels)
            yield image
    except UnidentifiedImageError as error:
        signature = _SIGNATURE.match(data)
        if signature:
            reason = f"its {signature.lastgroup} header cannot be read"
            raise ImageError(f"corrupt or truncated ({reason})", remedy="write the file again") from error
        raise ImageError("no image of a known format", remedy=f"known formats: {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:  # pillow's own limit, for what claims to be far larger
        raise ImageError(f"more pixels than the limit of {max_pixels}", remedy="shrink the image") from error
    except _DECODE_ERRORS as error:
        raise ImageError(f"corrupt or truncated ({reason_of(error)})", remedy="write the file again") from error


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageError(f"{width}x{height} pixels, more than the limit of {max_pixels}", remedy="shrink the image")


def _check_png(data: bytes) -> None:
    """Raise ValueError unless every chunk up to IEND is there and matches its checksum.

    Pillow compares no checksum of the pixel data and does without an end: of single flipped bits in small PNGs, one in
    five comes out as other pixels.
    """
    view, start = memoryview(data), len(_PNG_SIGNATURE)
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


def _check_palette(image: Image.Image) -> None:
    """Raise ValueError if a pixel names a colour that the palette does not have: pillow makes up a black one."""
    colors = len(image.getpalette() or ()) // 3
    last = image.getextrema()[1]
    if isinstance(last, int | float) and last >= colors:
        raise ValueError(f"a pixel of color {last} in a palette of {colors}")


def to_pixels(image: Image.Image, notes: list[str] | None = None) -> Pixels:
    """Any pillow image -> uint8 [H, W, 3]: upright, alpha on white, deep greys scaled to 8 bits.

    Args:
        image: loaded, in any mode.
        notes: gets a line for each thing that was dropped.
    """
    notes = [] if notes is None else notes
    image.load()  # which turns a TIFF upright
    turn = _TURNS.get(_orientation(image, notes))
    upright = image if turn is None else image.transpose(turn)
    if upright.mode.startswith("I") or upright.mode == "F":
        return _from_deep_grey(upright, image, notes)
    if upright.mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        upright = ImageCms.profileToProfile(upright, *profiles, outputMode="RGB") or upright
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return np.asarray(upright if upright.mode == "RGB" else upright.convert("RGB"))


def _orientation(image: Image.Image, notes: list[str]) -> int:
    """How the image is stored, 1 to 8; broken EXIF data is noted and counts as upright."""
    if "exif" not in image.info and image.format != "TIFF":
        return 1
    # pillow reports broken EXIF data as warnings, and which warnings are shown belongs to the whole process.
    with _WARNINGS_LOCK, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if "exif" in image.info:
                Image.Exif().load(image.info["exif"])  # once more: pillow may have read and cached it on opening
            orientation, broken = image.getexif().get(_ORIENTATION, 1), False
        except _DECODE_ERRORS:
            orientation, broken = 1, True
    if broken or caught:
        notes.append("broken EXIF data is ignored")
    return orientation if isinstance(orientation, int) and orientation in _TURNS else 1


def _from_deep_grey(image: Image.Image, opened: Image.Image, notes: list[str]) -> Pixels:
    """Greys of more than 8 bits -> uint8 [H, W, 3]; ``opened`` has the tags that turning the image loses."""
    tags = getattr(opened, "tag_v2", {})
    (bits, *_), (sample_format, *_) = _tuple(tags.get(258, 16)), _tuple(tags.get(339, 1))
    values = np.asarray(image)
    if image.mode == "I" and sample_format == 1 and bits == 32:
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
    elif bits == 32:
        scales = (255.0, 65535.0, float(2**31 - 1), float(2**32 - 1))
    else:
        scales = (float(2 ** (bits - (sample_format == 2)) - 1),)
    full_scale = next((scale for scale in scales if peak <= scale), peak)
    finite = np.nan_to_num(values.astype(np.float32), posinf=full_scale, neginf=0.0)
    grey = np.clip(np.rint(finite * np.float32(255 / full_scale)), 0, 255).astype(np.uint8)
    if tags.get(262) == 0:  # white is zero
        grey = 255 - grey
    if unknown is not None:
        grey[unknown] = 255
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey = np.where(values == transparent, np.uint8(255), grey)
    return np.repeat(grey[..., None], 3, axis=2)


def _tuple(tag: Any) -> tuple[Any, ...]:
    return tag if isinstance(tag, tuple) and tag else (tag,)


def encode_png(pixels: Pixels) -> bytes:
    """uint8 [H, W, 3], RGB, or [H, W, 4], RGBA -> the bytes of a PNG; equal pixels give equal bytes.

    Every row is stored as its difference from the row above, and only runs are compressed: for flat colours as small
    as what a search through five filters and long matches gives, in a third of the time (benchmarks/codecs.py).
    """
    height, width, channels = pixels.shape
    rows = pixels.reshape(height, width * channels)
    filtered = np.empty((height, 1 + width * channels), np.uint8)
    filtered[:, 0] = 2  # the filter "up" (PNG specification, 9.2)
    filtered[:1, 1:] = rows[:1]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    compressor = zlib.compressobj(level=1, memLevel=9, strategy=zlib.Z_RLE)
    body = compressor.compress(filtered.data) + compressor.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, {3: 2, 4: 6}[channels], 0, 0, 0)
    return _PNG_SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(name)))
