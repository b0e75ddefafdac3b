"""The bytes of an untrusted image file -> validated RGB pixels.

The format is decided by the content of a file, from the registry in ``polyexport.imaging.codecs``. The size is checked
before a pixel is decoded. A truncated or damaged file is an error, never a partly gray image.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polyexport.errors import ImageError
from polyexport.imaging.codecs.codec import Codec
from polyexport.imaging.deep_gray import is_deep_gray, scaled_gray
from polyexport.imaging.metadata import read_traits
from polyexport.imaging.opening import check_palette, opened
from polyexport.imaging.orientation import TRANSPOSES, orientation
from polyexport.imaging.profiles import to_srgb
from polyexport.imaging.traits import KEEP_NOTHING, NO_TRAITS, Keep, Traits
from polyexport.storage.files import read_limited

__all__ = [
    "MAX_FILE_BYTES",
    "MAX_PIXELS",
    "MAX_SIDE",
    "MAX_TRAINING_SIZE",
    "MODEL_BITS",
    "Converted",
    "DecodedImage",
    "Pixels",
    "convert",
    "convert_frame",
    "decode",
    "inspect_header",
    "outside",
    "read_image",
    "stored_bits",
    "to_channels",
    "to_pixels",
    "traits_of",
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

MODEL_BITS = 8
"""Bits per channel of the pixels that a model takes."""


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Converted:
    """A pillow image converted to pixels."""

    pixels: Pixels
    """uint8 [H, W, channels], upright, sRGB."""

    alpha: NDArray[np.uint8] | None
    """uint8 [H, W, 1], upright; None if the image has no alpha, or it was not asked for."""

    icc_profile: bytes
    """Profile from which the colors were converted to sRGB; empty if they were taken as sRGB."""

    turned: bool
    """Whether rows of the stored image are columns of the upright one."""


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


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS, channels: int = 3, keep: Keep = KEEP_NOTHING) -> DecodedImage:
    """Decode the first frame of an image file.

    Args:
        data: The whole file.
        max_pixels: Largest width times height that is accepted.
        channels: Channels of the result; see ``convert``.
        keep: Traits of the file that are returned beside the pixels.

    Raises:
        ImageError: The data are empty, truncated, corrupt or of an unknown format, or the image has more than
            ``max_pixels`` pixels.
    """
    notes: list[str] = []
    with opened(data, max_pixels) as (image, codec):
        codec.check_file(data)
        if getattr(image, "is_animated", False):
            notes.append("only the first frame is used")
            image.seek(0)
        bits = stored_bits(image, codec, data, notes)
        undrawn = outside(codec.drawn_box(image), image.size)
        converted = convert_frame(image, notes, channels=channels, keep_alpha=keep.alpha, undrawn=undrawn)
        traits = traits_of(image, bits, converted, keep, notes)
    return DecodedImage(pixels=converted.pixels, warnings=tuple(notes), traits=traits)


def traits_of(image: Image.Image, bits: int, converted: Converted, keep: Keep, notes: list[str]) -> Traits:
    """Return the traits of an image that was converted, as far as they are kept."""
    if not keep.anything:
        return NO_TRAITS
    return read_traits(
        image,
        keep,
        notes,
        bits=bits,
        icc_profile=converted.icc_profile,
        alpha=converted.alpha,
        turned=converted.turned,
    )


def stored_bits(image: Image.Image, codec: Codec, data: bytes, notes: list[str]) -> int:
    """Return how many bits per channel an opened image stores; more than a model takes are noted."""
    bits = codec.bits(image, data)
    if bits > MODEL_BITS:
        notes.append(f"{bits} bits per channel were reduced to {MODEL_BITS}, which the model takes")
    return bits


def outside(box: tuple[int, int, int, int] | None, size: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Return where an image of a size (width, height) is not drawn.

    Args:
        box: Left, top, right and bottom of what its file draws; None if it draws all of it.
        size: Width and height.

    Returns:
        bool [H, W]; None if all of it is drawn.
    """
    if box is None or box == (0, 0, *size):
        return None
    left, top, right, bottom = box
    undrawn = np.ones(size[::-1], np.bool_)
    undrawn[top:bottom, left:right] = False
    return undrawn


def convert_frame(
    image: Image.Image, notes: list[str], *, channels: int, keep_alpha: bool, undrawn: NDArray[np.bool_] | None
) -> Converted:
    """Decode the frame at which an opened image stands, as ``convert`` does; the pixels are read-only.

    Args:
        image: An image as ``opened`` yields it, of checked size.
        notes: A list that gets one line for each thing that was dropped.
        channels: Channels of the result.
        keep_alpha: Return the alpha as well.
        undrawn: bool [H, W], where the file draws nothing, which is transparent; None if it draws everything.
    """
    image.load()
    if image.mode == "P":
        check_palette(image)
    converted = convert(image, notes, channels=channels, keep_alpha=keep_alpha)
    if undrawn is not None and undrawn.any():
        pixels = converted.pixels.copy()
        pixels[undrawn] = 255  # with alpha, white that is opaque
        alpha = converted.alpha
        if keep_alpha:
            alpha = np.full_like(pixels[..., :1], 255) if alpha is None else alpha.copy()
            alpha[undrawn] = 0
        converted = replace(converted, pixels=pixels, alpha=alpha)
    converted.pixels.setflags(write=False)
    return converted


def inspect_header(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return the upright width and height of an image in pixels, as ``decode`` would give them, from its header alone.

    The data behind the header are not read: a truncated file still has its size.

    Raises:
        ImageError: The data are empty or of an unknown format, the header is broken, or the image has more than
            ``max_pixels`` pixels.
    """
    with opened(data, max_pixels) as (image, codec):
        width, height = image.size
        # Asking pillow for the EXIF data of a file that has none in its header may decode the whole file.
        if "exif" in image.info and not codec.orientation_in_tags and orientation(image, []) >= 5:
            width, height = height, width
    return width, height


def to_pixels(image: Image.Image, notes: list[str] | None = None, *, channels: int = 3) -> Pixels:
    """Convert a pillow image of any mode to upright pixels; see ``convert``."""
    return convert(image, [] if notes is None else notes, channels=channels).pixels


def convert(image: Image.Image, notes: list[str], *, channels: int = 3, keep_alpha: bool = False) -> Converted:
    """Convert a pillow image of any mode to upright sRGB pixels, by its embedded ICC profile if it has one.

    Gray values of more than 8 bits are scaled to 8 bits, before a profile is applied to them. Alpha is composited after
    the conversion of the colors.

    Args:
        image: A pillow image in any mode.
        notes: A list that gets one line for each thing that was dropped.
        channels: 3 for RGB, with alpha composited on white; 1 for the luma (BT.601) of that; 4 for RGBA, opaque where
            the image has no alpha.
        keep_alpha: Return the alpha of the image as well.
    """
    image.load()  # also turns an image upright whose orientation is among the tags of its format
    turn = orientation(image, notes)
    transpose, turned = TRANSPOSES.get(turn), turn >= 5
    upright = image if transpose is None else image.transpose(transpose)
    profile = image.info.get("icc_profile", b"")
    if is_deep_gray(upright):
        return _convert_deep_gray(upright, image, turned, profile, notes, channels, keep_alpha)
    colors, used = upright, b""
    if profile != b"" or upright.mode == "LAB":
        colors, used = to_srgb(upright, profile, notes)
    alpha = None
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        if colors is not upright:
            colors.putalpha(rgba.getchannel("A"))
            rgba = colors
        if keep_alpha:
            alpha = np.asarray(rgba.getchannel("A"))[..., None]
        if channels == 4:
            return Converted(pixels=np.asarray(rgba), alpha=alpha, icc_profile=used, turned=turned)
        colors = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    pixels = to_channels(np.asarray(colors if colors.mode == "RGB" else colors.convert("RGB")), channels)
    return Converted(pixels=pixels, alpha=alpha, icc_profile=used, turned=turned)


def _convert_deep_gray(
    upright: Image.Image,
    image: Image.Image,
    turned: bool,
    profile: object,
    notes: list[str],
    channels: int,
    keep_alpha: bool,
) -> Converted:
    """Convert gray values of more than 8 bits as ``convert`` does; white where they are transparent or no numbers."""
    gray, transparent, unknown = scaled_gray(upright, image, notes)
    colors, used = to_srgb(Image.fromarray(gray), profile, notes)
    pixels = np.array(colors.convert("RGB"))
    for white in (unknown, transparent):
        if white is not None:
            pixels[white] = 255
    alpha = None
    if keep_alpha and transparent is not None:
        alpha = np.where(transparent, np.uint8(0), np.uint8(255))[..., None]
    return Converted(pixels=to_channels(pixels, channels), alpha=alpha, icc_profile=used, turned=turned)


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
