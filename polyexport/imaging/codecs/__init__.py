"""The registry of image formats: the formats that inputs may have, one row each.

To add a format, write a module like ``bmp.py`` in this folder and add its row to ``CODECS``. The formats that pillow is
allowed to open, the suffixes that a folder scan accepts, the error messages and the table in ``docs/infer.md`` follow.
"""

import re

from polyexport.imaging.codecs.avif import AVIF
from polyexport.imaging.codecs.bmp import BMP
from polyexport.imaging.codecs.codec import Codec
from polyexport.imaging.codecs.gif import GIF
from polyexport.imaging.codecs.jpeg import JPEG
from polyexport.imaging.codecs.png import PNG
from polyexport.imaging.codecs.ppm import PPM
from polyexport.imaging.codecs.tiff import TIFF
from polyexport.imaging.codecs.webp import WEBP

__all__ = ["CODECS", "FORMATS", "SUFFIXES", "codec_of", "format_by_signature"]

CODECS: tuple[Codec, ...] = (
    PNG,
    JPEG,
    BMP,
    GIF,
    TIFF,
    WEBP,
    PPM,
    AVIF,
)
"""Every image format that is read, in the order in which pillow tries them."""

FORMATS = tuple(codec.name for codec in CODECS)
"""Pillow's names of the formats that are read."""

SUFFIXES = frozenset(suffix for codec in CODECS for suffix in codec.suffixes)
"""Lowercase file name suffixes that a folder scan takes for images. The content of a file decides its format."""

_CODECS_BY_NAME = {codec.name: codec for codec in CODECS}
_OTHER = Codec(name="", description="an image of no format in the registry", signature=rb"(?!)", suffixes=())
_SIGNATURES = re.compile(
    b"|".join(b"(?P<%s>%s)" % (codec.name.encode(), codec.signature) for codec in CODECS), re.DOTALL
)


def codec_of(name: str | None) -> Codec:
    """Return the codec of a format by pillow's name of it.

    An image that was made in memory (None), or one of a variant to which pillow gives another name, such as MPO for a
    JPEG file with several pictures, gets a codec without checks.
    """
    return _CODECS_BY_NAME.get(name or "", _OTHER)


def format_by_signature(data: bytes) -> str | None:
    """Return the name of the format whose signature a file begins with; None if there is none."""
    match = _SIGNATURES.match(data)
    return match.lastgroup if match else None
