"""A result on its way into a file: alpha and profile of the input are put back, and its metadata chosen."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polyexport.imaging.encoders import encoder_of
from polyexport.imaging.encoders.profile import srgb_profile, to_profile
from polyexport.imaging.matte import with_alpha
from polyexport.imaging.output_format import EncodedImage, OutputFormat
from polyexport.imaging.traits import Traits

__all__ = ["write_image"]


def write_image(
    pixels: NDArray[np.uint8], output: OutputFormat, traits: Traits, *, suffix: str = "", colors: bool = True
) -> EncodedImage:
    """Write a result as an image file.

    Args:
        pixels: uint8 [H, W, C], gray, RGB or RGBA, 0 to 255; in sRGB, if they are colors.
        output: format of the file, and what it keeps.
        traits: traits of the input, whose size may be another.
        suffix: suffix of the file's name, with the dot, which decides the format ``same``.
        colors: whether the values are those of a picture, not of a mask or of labels, which stay as they are.

    Returns:
        The file; equal arguments give equal bytes.

    Raises:
        ImageError: the format does not hold so many pixels.
    """
    notes: list[str] = []
    encoder = encoder_of(output.format, suffix, traits.format)
    if output.alpha == "keep" and traits.alpha is not None:
        pixels = _transparent(pixels, traits.alpha, colors=colors)
    profile = b""
    if colors and traits.icc_profile:
        pixels, profile = _profiled(pixels, output, traits.icc_profile, encoder.profile_bytes, notes)
    kept = output.metadata == "keep"
    held = Traits(
        icc_profile=profile,
        exif=traits.exif if kept else b"",
        xmp=traits.xmp if kept else b"",
        dpi=traits.dpi if kept else None,
    )
    return EncodedImage(data=encoder.encode(pixels, output, held, notes), warnings=tuple(notes))


def _profiled(
    pixels: NDArray[np.uint8], output: OutputFormat, profile: bytes, most_bytes: int, notes: list[str]
) -> tuple[NDArray[np.uint8], bytes]:
    """Return the pixels in the color space of the output, and the profile that says so; empty if nothing needs to."""
    if output.color_profile == "keep":
        reason = "the format does not hold it"
        if len(profile) <= most_bytes:
            try:
                return to_profile(pixels, profile), profile
            except ValueError as error:
                reason = str(error)
        notes.append(f"the color profile cannot be kept ({reason}): the output is sRGB")
    return pixels, srgb_profile() if pixels.shape[2] >= 3 else b""  # a gray file cannot have a profile of RGB


def _transparent(pixels: NDArray[np.uint8], alpha: NDArray[np.uint8], *, colors: bool) -> NDArray[np.uint8]:
    """Put the alpha of an image, uint8 [H, W, 1], back on its result, uint8 [s H, s W, C]."""
    height, width = pixels.shape[:2]
    if alpha.shape[:2] != (height, width):
        scaled = Image.fromarray(np.ascontiguousarray(alpha[..., 0])).resize((width, height), Image.Resampling.BILINEAR)
        alpha = np.asarray(scaled)[..., None]
    return with_alpha(pixels, alpha) if colors else np.concatenate([pixels, alpha], axis=2)
