"""Opening of an untrusted image file: its format by its content, its size before a pixel is decoded."""

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image, ImageCms, PngImagePlugin, UnidentifiedImageError

from polyexport.errors import ImageError, reason_of
from polyexport.imaging.codecs import FORMATS, codec_of, format_by_signature
from polyexport.imaging.codecs.codec import Codec
from polyexport.imaging.profiles import MAX_PROFILE_BYTES

__all__ = ["DECODE_ERRORS", "check_palette", "check_size", "opened"]

# Pillow refuses a PNG file with a compressed chunk that is larger than this, 1 MiB by itself; profiles may be larger.
PngImagePlugin.MAX_TEXT_CHUNK = max(PngImagePlugin.MAX_TEXT_CHUNK, MAX_PROFILE_BYTES)

DECODE_ERRORS = (
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


_HEAD_BYTES = 64  # more than any signature


@contextmanager
def opened(source: bytes | io.RawIOBase, max_pixels: int) -> Iterator[tuple[Image.Image, Codec]]:
    """Open an image, check its size and yield it with its codec; errors inside the block become ImageErrors.

    Args:
        source: The whole file, or a file that is open for reading.
        max_pixels: Largest width times height that is accepted.

    Raises:
        ImageError: The data are empty, damaged or of an unknown format, or the image has more than ``max_pixels``
            pixels.
    """
    file: Any = io.BytesIO(source) if isinstance(source, bytes) else source
    head = file.read(_HEAD_BYTES)
    if not head:
        raise ImageError("the file is empty", remedy="write it again")
    file.seek(0)
    try:
        with Image.open(file, formats=FORMATS) as image:
            check_size(*image.size, max_pixels)
            codec = codec_of(image.format)
            for width, height in codec.extra_sizes(image):
                check_size(width, height, max_pixels)
            codec.prepare(image)
            yield image, codec
    except UnidentifiedImageError as error:
        if name := format_by_signature(head):
            reason = f"its {name} header cannot be read"
            raise ImageError(f"corrupt or truncated ({reason})", remedy="write the file again") from error
        raise ImageError("no image of a known format", remedy=f"known formats: {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:  # pillow's own limit, for what claims to be far larger
        raise ImageError(
            f"more pixels than the limit of {max_pixels}", remedy="shrink the image, or raise the limit"
        ) from error
    except DECODE_ERRORS as error:
        raise ImageError(f"corrupt or truncated ({reason_of(error)})", remedy="write the file again") from error


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Check the size of what is about to be decoded.

    Raises:
        ImageError: It has more than ``max_pixels`` pixels.
    """
    if width * height > max_pixels:
        raise ImageError(
            f"{width}x{height} pixels, more than the limit of {max_pixels}",
            remedy="shrink the image, or raise the limit",
        )


def check_palette(image: Image.Image) -> None:
    """Raise ValueError if a pixel has an index that is outside of the palette, which pillow would show as black."""
    colors = len(image.getpalette() or ()) // 3
    last = image.getextrema()[1]
    if isinstance(last, int | float) and last >= colors:
        raise ValueError(f"a pixel of color {last} in a palette of {colors}")
