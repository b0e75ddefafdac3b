"""Decoding of an image file in bands of rows, so that memory is bounded by the band and not by the picture.

Rows are read by libvips, if it is installed, from formats that store them one after the other: the strips and tiles of
TIFF, the rows of PNG, the scan lines of JPEG. Their colors are converted as ``polyexport.imaging.pixels`` converts
those of a whole image. Other files, and all files without libvips, are decoded as a whole and handed out in bands.
"""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from polyexport.errors import ImageError
from polyexport.imaging.codecs.codec import Codec
from polyexport.imaging.metadata import read_traits
from polyexport.imaging.opening import opened
from polyexport.imaging.orientation import orientation
from polyexport.imaging.pixels import Pixels, convert, decode, stored_bits
from polyexport.imaging.traits import NO_TRAITS, Keep, Traits

if TYPE_CHECKING:
    import pyvips

__all__ = ["MAX_HEAD_BYTES", "Bands", "open_bands"]

MAX_HEAD_BYTES = 1 << 20
"""Bytes of the beginning of a file from which its kind is told."""

_LOADERS = {"PNG": "pngload_source", "JPEG": "jpegload_source", "TIFF": "tiffload_source"}
"""Name of a format -> libvips' operation that reads it row by row."""

_MODES = {
    ("uchar", 1): "L",
    ("uchar", 2): "LA",
    ("uchar", 3): "RGB",
    ("uchar", 4): "RGBA",
    ("ushort", 1): "I;16",
    ("ushort", 3): "RGB",
    ("ushort", 4): "RGBA",
}
"""Type and channels of libvips' rows -> pillow's mode of such an image."""

_INTERPRETATIONS = frozenset(("srgb", "rgb", "b-w", "rgb16", "grey16"))
_UPRIGHT = 1
_TURNS = {2: "fliphor", 3: "rot180", 4: "flipver", 5: "rot90", 6: "rot90", 7: "rot270", 8: "rot270"}
_SECOND_TURNS = (5, 7)
"""EXIF orientation -> libvips' operation that turns the stored image upright; these two are flipped after it."""

_MAX_REASON = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Bands:
    """An image that is decoded in bands."""

    height: int
    """Height of the upright image, pixels."""

    width: int
    """Width of the upright image, pixels."""

    traits: Traits
    """Traits of the file, as far as they were asked for, without alpha."""

    warnings: tuple[str, ...]
    """One line for each thing that was dropped from the file."""

    rows: Iterator[Pixels]
    """Its rows from top to bottom, some at a time, uint8 [n, width, channels], as ``pixels.decode`` has them. Reading
    on raises an ImageError where the file is damaged."""


@contextlib.contextmanager
def open_bands(file: io.RawIOBase, *, max_pixels: int, channels: int, band_rows: int, keep: Keep) -> Iterator[Bands]:
    """Open an image file to decode it in bands, in a process that does nothing else.

    Args:
        file: the file, open for reading without a buffer, as libvips reads its descriptor; untrusted.
        max_pixels: largest width times height that is accepted.
        channels: channels of the rows.
        band_rows: largest number of rows that are decoded at a time.
        keep: traits of the file that are returned.

    Raises:
        ImageError: the file is damaged or of an unknown format, or the image has more than ``max_pixels`` pixels.
    """
    Image.MAX_IMAGE_PIXELS = None  # the size is checked against the limit that the user set
    head = file.read(MAX_HEAD_BYTES)
    file.seek(0)
    notes: list[str] = []
    if keep.alpha:
        notes.append("alpha is not kept of an image that is decoded in bands")
        keep = Keep(metadata=keep.metadata)
    with opened(file, max_pixels) as (image, codec):
        streamed = _opened_by_libvips(file, image, codec)
        if streamed is None:
            yield _whole(file, max_pixels, channels, band_rows, keep, notes)
            return
        if getattr(image, "n_frames", 1) > 1:
            notes.append("only the first frame is used")
        bits = stored_bits(image, codec, head, notes)
        # What becomes of the profile is the same for all pixels: one of them tells, and gives the notes.
        mode, profile = _mode_of(streamed), image.info.get("icc_profile", b"")
        used = convert(_with_profile(Image.new(mode, (1, 1)), profile), notes, channels=channels).icc_profile
        traits = NO_TRAITS
        if keep.anything:
            turned = streamed.width != image.width
            traits = read_traits(image, keep, notes, bits=bits, icc_profile=used, alpha=None, turned=turned)
        yield Bands(
            height=streamed.height,
            width=streamed.width,
            traits=traits,
            warnings=tuple(notes),
            rows=_rows(streamed, profile, channels, band_rows),
        )


def _opened_by_libvips(file: io.RawIOBase, image: Image.Image, codec: Codec) -> "pyvips.Image | None":
    """Open a file with libvips, upright; None if it cannot read the file row by row, or is not installed."""
    loader = _LOADERS.get(codec.name)
    try:
        import pyvips
    except (ImportError, OSError):
        return None
    if loader is None:
        return None
    turn = orientation(image, [])
    # What is turned is read in another order: libvips unpacks it to memory, or to a file if it is large.
    access = "sequential" if turn == _UPRIGHT else "random"
    try:
        file.seek(0)
        source = pyvips.Source.new_from_descriptor(file.fileno())
        found = getattr(pyvips.Image, loader)(source, access=access, fail_on="error")
        if not _mode_of(found) or found.interpretation not in _INTERPRETATIONS:
            return None
        upright = getattr(found, _TURNS[turn])() if turn in _TURNS else found
        if turn in _SECOND_TURNS:
            upright = upright.fliphor()
    except pyvips.Error:
        return None  # pillow may read it, or says what is wrong with it
    return upright


def _mode_of(image: "pyvips.Image") -> str:
    """Return pillow's mode of an image of libvips; empty if it has none."""
    return _MODES.get((image.format, image.bands), "")


def _with_profile(image: Image.Image, profile: object) -> Image.Image:
    if profile != b"":
        image.info["icc_profile"] = profile
    return image


def _rows(image: "pyvips.Image", profile: object, channels: int, band_rows: int) -> Iterator[Pixels]:
    import pyvips

    kind: type[np.uint8 | np.uint16] = np.uint16 if image.format == "ushort" else np.uint8
    region = pyvips.Region.new(image)
    for top in range(0, image.height, band_rows):
        count = min(band_rows, image.height - top)
        try:
            data = region.fetch(0, top, image.width, count)
        except pyvips.Error as error:
            reason = " ".join(str(error.detail or error.message).split())[:_MAX_REASON]
            raise ImageError(f"corrupt or truncated ({reason})", remedy="write the file again") from error
        values = np.frombuffer(data, kind).reshape(count, image.width, image.bands)
        if image.bands > 1 and kind is np.uint16:
            values = np.right_shift(values, 8).astype(np.uint8)  # as pillow reads them
        squeezed = values[..., 0] if image.bands == 1 else values
        band = _with_profile(Image.fromarray(squeezed), profile)
        yield np.ascontiguousarray(convert(band, [], channels=channels).pixels)


def _whole(file: io.RawIOBase, max_pixels: int, channels: int, band_rows: int, keep: Keep, notes: list[str]) -> Bands:
    """Decode a file as a whole."""
    file.seek(0)
    decoded = decode(file.readall() or b"", max_pixels=max_pixels, channels=channels, keep=keep)
    pixels = decoded.pixels
    return Bands(
        height=pixels.shape[0],
        width=pixels.shape[1],
        traits=decoded.traits,
        warnings=(*notes, *decoded.warnings),
        rows=(pixels[top : top + band_rows] for top in range(0, len(pixels), band_rows)),
    )
