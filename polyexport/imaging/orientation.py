"""Orientation of an image by its EXIF data."""

import threading
import warnings

from PIL import Image

from polyexport.imaging.codecs import codec_of
from polyexport.imaging.opening import DECODE_ERRORS

__all__ = ["BROKEN_EXIF", "ORIENTATION_TAG", "TRANSPOSES", "WARNINGS_LOCK", "orientation"]

BROKEN_EXIF = "broken EXIF data is ignored"
"""Note for an image whose EXIF data cannot be read."""

ORIENTATION_TAG = 274
"""Number of the EXIF tag that holds the orientation."""

TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> the operation that turns the stored image upright (EXIF 2.32, 4.6.4.A)."""

WARNINGS_LOCK = threading.Lock()
"""Lock that is held while the warning filters, which belong to the whole process, are changed."""


def orientation(image: Image.Image, notes: list[str]) -> int:
    """Return the EXIF orientation, 1 to 8; broken EXIF data are noted and count as upright (1).

    Args:
        image: An image whose orientation has not been applied.
        notes: A list that gets one line if the EXIF data are broken.
    """
    if "exif" not in image.info and not codec_of(image.format).orientation_in_tags:
        return 1
    # pillow reports broken EXIF data as warnings, and which warnings are shown belongs to the whole process.
    with WARNINGS_LOCK, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if "exif" in image.info:
                exif = Image.Exif()  # not pillow's own, which takes the orientation from XMP if EXIF has none
                exif.load(image.info["exif"])
            else:
                exif = image.getexif()
            value, broken = exif.get(ORIENTATION_TAG, 1), False
        except DECODE_ERRORS:
            value, broken = 1, True
    if broken or caught:
        notes.append(BROKEN_EXIF)
    return value if isinstance(value, int) and value in TRANSPOSES else 1
