"""Metadata of an opened image file, made fit for an output: EXIF, XMP, resolution.

What speaks of the file that it was read from is left out: the orientation, which was applied, the layout of the pixels
in the file, the thumbnail, and maker notes, whose offsets hold only at the place where the camera wrote them.
"""

import re
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from polyexport.imaging.codecs import codec_of
from polyexport.imaging.opening import DECODE_ERRORS
from polyexport.imaging.orientation import BROKEN_EXIF, ORIENTATION_TAG, WARNINGS_LOCK
from polyexport.imaging.traits import MAX_DPI, MAX_EXIF_BYTES, MAX_XMP_BYTES, Keep, Traits

__all__ = ["read_dpi", "read_exif", "read_traits", "read_xmp"]

_FORMATS_OF_VARIANTS = {"MPO": "JPEG"}
"""Pillow's name of a variant -> the name of its format."""

_STORAGE_TAGS = frozenset(
    (
        *range(254, 260),  # kind of the page, width, length, bits, compression
        *(262, 263, 264, 265, 266, 269, ORIENTATION_TAG, 273, 277, 278, 279, 280, 281, 284, 285, 288, 289, 290, 291),
        *(292, 293, 297, 301, *range(317, 348), 400, 401, 402, 403, 404, 433, 434),  # tables, tiles, samples, inks
        *range(512, 533),  # JPEG in TIFF, thumbnail, layout of YCbCr
        *(559, 700, 33723, 34377, 34665, 34675, 34853, 37724, 40965),  # other metadata, and offsets
    )
)
"""Tags of the first directory that describe how the pixels were stored, or hold other metadata or offsets (TIFF 6.0,
its supplements, EXIF 2.32). The directories of EXIF and GPS are copied by themselves."""

_EXIF_WIDTH, _EXIF_HEIGHT = 40962, 40963
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:\s*=\s*[\"']|>)\s*)[2-8]")


def read_traits(
    image: Image.Image,
    keep: Keep,
    notes: list[str],
    *,
    bits: int,
    icc_profile: bytes,
    alpha: NDArray[np.uint8] | None,
    turned: bool,
) -> Traits:
    """Return the traits of a loaded image that are to be kept.

    Args:
        image: An image whose pixels are loaded.
        keep: Which traits are kept.
        notes: A list that gets one line for each thing that was dropped.
        bits: Bits per channel that its file stores.
        icc_profile: Profile that was used for its colors.
        alpha: Alpha of the upright image, uint8 [H, W, 1]; None if it has none.
        turned: Whether rows of the stored image are columns of the upright one.
    """
    name = _FORMATS_OF_VARIANTS.get(image.format or "", image.format or "")
    if not keep.metadata:
        return Traits(format=name, bits=bits, alpha=alpha)
    dpi = read_dpi(image)
    return Traits(
        format=name,
        bits=bits,
        icc_profile=icc_profile,
        exif=read_exif(image, notes),
        xmp=read_xmp(image, notes),
        dpi=dpi[::-1] if dpi and turned else dpi,
        alpha=alpha,
    )


def read_exif(image: Image.Image, notes: list[str]) -> bytes:
    """Return the EXIF data of a loaded image, written anew; empty if there are none.

    Args:
        image: An image whose pixels are loaded.
        notes: A list that gets one line if the data are broken or too large.
    """
    in_tags = codec_of(image.format).orientation_in_tags
    if "exif" not in image.info and not in_tags:
        return b""
    with WARNINGS_LOCK, warnings.catch_warnings():
        warnings.simplefilter("error")  # pillow warns of directories that it reads only in part
        try:
            written = _written_anew(image.getexif() if in_tags else _parsed(image.info["exif"]))
        except DECODE_ERRORS:
            if BROKEN_EXIF not in notes:
                notes.append(BROKEN_EXIF)
            return b""
    if len(written) > MAX_EXIF_BYTES:
        notes.append(f"EXIF data of {len(written)} bytes are dropped, more than the limit of {MAX_EXIF_BYTES}")
        return b""
    return written


def _parsed(data: bytes) -> Image.Exif:
    exif = Image.Exif()
    exif.load(data)
    return exif


def _written_anew(exif: Image.Exif) -> bytes:
    """Return the bytes of what is fit for another file; empty if there is nothing."""
    kept = Image.Exif()
    kept.endian = exif.endian or "<"
    for tag in exif:
        if tag not in _STORAGE_TAGS:
            kept[tag] = exif[tag]
    for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        entries = {
            tag: value
            for tag, value in exif.get_ifd(directory).items()
            if tag not in (_EXIF_WIDTH, _EXIF_HEIGHT, ExifTags.IFD.MakerNote, ExifTags.IFD.Interop)
        }
        if entries:
            kept[directory] = entries
    if not len(kept):
        return b""
    written = kept.tobytes()
    again = _parsed(written)
    if set(again) != set(kept):
        raise ValueError("entries are lost")
    for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        again.get_ifd(directory)
    return written


def read_xmp(image: Image.Image, notes: list[str]) -> bytes:
    """Return the XMP packet of a loaded image, with an upright orientation; empty if there is none.

    Args:
        image: An image whose pixels are loaded.
        notes: A list that gets one line if the packet is broken or too large.
    """
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    data = packet.encode("utf-8", "replace") if isinstance(packet, str) else packet
    data = data.rstrip(b"\0") if isinstance(data, bytes) else None
    if data is None or b"\0" in data or not _is_utf8(data):
        notes.append("a broken XMP packet is ignored")
        return b""
    if len(data) > MAX_XMP_BYTES:
        notes.append(f"an XMP packet of {len(data)} bytes is dropped, more than the limit of {MAX_XMP_BYTES}")
        return b""
    return _XMP_ORIENTATION.sub(rb"\g<1>1", data)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def read_dpi(image: Image.Image) -> tuple[float, float] | None:
    """Return the horizontal and vertical resolution of the image as stored, pixels per inch; None if it has none."""
    try:
        horizontal, vertical = (float(each) for each in image.info["dpi"])
    except DECODE_ERRORS:
        return None
    usable = 0 < horizontal <= MAX_DPI and 0 < vertical <= MAX_DPI  # which is false for what is no number
    return (horizontal, vertical) if usable else None
