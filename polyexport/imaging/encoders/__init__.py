"""The registry of image writers: the formats that outputs may have, one row each.

To add a format, write a module like ``bmp.py`` in this folder and add its row to ``ENCODERS``; ``--format same`` takes
it by its suffixes. They are apart from ``polyexport.imaging.codecs``, so that decoding processes do not load them.
"""

from polyexport.imaging.encoders.avif import AVIF
from polyexport.imaging.encoders.bmp import BMP
from polyexport.imaging.encoders.encoder import Encoder
from polyexport.imaging.encoders.gif import GIF
from polyexport.imaging.encoders.jpeg import JPEG
from polyexport.imaging.encoders.png import PNG
from polyexport.imaging.encoders.ppm import PPM
from polyexport.imaging.encoders.tiff import TIFF
from polyexport.imaging.encoders.webp import WEBP
from polyexport.imaging.output_format import FormatName

__all__ = ["ENCODERS", "encoder_of", "suffix_of"]

ENCODERS: tuple[Encoder, ...] = (
    PNG,
    JPEG,
    BMP,
    GIF,
    TIFF,
    WEBP,
    PPM,
    AVIF,
)
"""Every image format that is written."""

_BY_NAME = {encoder.name: encoder for encoder in ENCODERS}
_BY_SUFFIX = {suffix: encoder for encoder in ENCODERS for suffix in encoder.suffixes}


def encoder_of(format_name: FormatName, suffix: str = "", found: str = "") -> Encoder:
    """Choose the writer of an output.

    Args:
        format_name: format that the user asked for.
        suffix: for ``same``, the suffix of the file's name, with the dot, in any case.
        found: for ``same`` and a suffix of no format, the format of the input by its content, as pillow spells it.

    Returns:
        The writer; for ``same`` that of PNG where neither says a format that is written.
    """
    if format_name != "same":
        return _BY_NAME[format_name.upper()]
    return _BY_SUFFIX.get(suffix.lower()) or _BY_NAME.get(found) or PNG


def suffix_of(format_name: FormatName, suffix: str) -> str:
    """Return the suffix of an output's name.

    Args:
        format_name: format that the user asked for.
        suffix: suffix of the input's name, with the dot.

    Returns:
        The suffix of the format; for ``same`` the input's own if a format is written under it, else that of PNG.
    """
    if format_name != "same":
        return _BY_NAME[format_name.upper()].suffixes[0]
    return suffix if suffix.lower() in _BY_SUFFIX else PNG.suffixes[0]
