"""EXIF data on their way into a file: the resolution among them, and their entries as tags of a TIFF file."""

from typing import Any

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from polyexport.imaging.encoders.encoder import tiff_bytes
from polyexport.imaging.opening import DECODE_ERRORS

__all__ = ["exif_with_resolution", "tags_of"]

# Numbers of tags (EXIF 2.32, 4.6).
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _INCH = 282, 283, 296, 2
_EXIF_IFD, _GPS_IFD, _INTEROPERABILITY_IFD = 0x8769, 0x8825, 0xA005

_DESCRIPTIVE = (270, 271, 272, 305, 306, 315, 316, 33432, *range(40091, 40096))
"""Tags beside a picture's own that mean the same in every file: description, make, model, software, date, artist,
computer, copyright, and those of Windows."""


def exif_with_resolution(exif: bytes, dpi: tuple[float, float] | None, notes: list[str]) -> bytes:
    """Write a resolution into EXIF data, for formats that have no other place for it.

    Args:
        exif: the EXIF data, untrusted; empty if there are none.
        dpi: horizontal and vertical resolution, pixels per inch; None if there is none.
        notes: a list that gets a line if the resolution cannot be written.

    Returns:
        The EXIF data as a TIFF structure; unchanged where they have this resolution or there is none.
    """
    if dpi is None:
        return tiff_bytes(exif)
    try:
        entries = _loaded(exif)
        found = entries.get(_X_RESOLUTION), entries.get(_Y_RESOLUTION), entries.get(_RESOLUTION_UNIT, _INCH)
        if found == (*dpi, _INCH):
            return tiff_bytes(exif)
        entries[_X_RESOLUTION], entries[_Y_RESOLUTION] = dpi
        entries[_RESOLUTION_UNIT] = _INCH
        return tiff_bytes(entries.tobytes())
    except DECODE_ERRORS:
        notes.append("the resolution cannot be added to the EXIF data: left out")
        return tiff_bytes(exif)


def tags_of(exif: bytes, notes: list[str]) -> dict[int, Any]:
    """Return the entries of EXIF data that can be tags of a TIFF file.

    Args:
        exif: the EXIF data, untrusted.
        notes: a list that gets a line if they cannot be read or written.

    Returns:
        Values by the numbers of their tags, as pillow's image file directory takes them; a directory of further tags
        is a dictionary.
    """
    try:
        entries = _loaded(exif)
        tags: dict[int, Any] = {tag: entries[tag] for tag in _DESCRIPTIVE if tag in entries}
        for number in (_EXIF_IFD, _GPS_IFD):
            inner = {tag: value for tag, value in entries.get_ifd(number).items() if tag != _INTEROPERABILITY_IFD}
            if inner:
                tags[number] = inner
        # Whether each value has a type of its tag, pillow finds out only when it writes them.
        directory = ImageFileDirectory_v2()
        for tag, value in tags.items():
            directory[tag] = value
        directory.tobytes()
    except (*DECODE_ERRORS, AttributeError, TypeError):
        notes.append("the EXIF data cannot be written as TIFF tags: left out")
        return {}
    return tags


def _loaded(exif: bytes) -> Image.Exif:
    entries = Image.Exif()
    if exif:
        entries.load(exif)
    return entries
