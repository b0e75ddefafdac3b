"""A result on its way into a file: alpha and profile of the input are put back, and its metadata chosen."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polyexport.imaging.encoders import encoder_of
from polyexport.imaging.encoders.profile import srgb_profile, to_profile
from polyexport.imaging.encoders.times import Times
from polyexport.imaging.matte import with_alpha
from polyexport.imaging.output_format import EncodedImage, OutputFormat
from polyexport.imaging.traits import Traits

__all__ = ["in_profile", "traits_for_file", "write_frames", "write_image"]


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
    held = traits_for_file(
        output, traits, channels=pixels.shape[2], colors=colors, most_bytes=encoder.profile_bytes, notes=notes
    )
    pixels = in_profile(pixels, output, held.icc_profile)
    return EncodedImage(data=encoder.encode(pixels, output, held, notes), warnings=tuple(notes))


def write_frames(
    frames: Sequence[NDArray[np.uint8]],
    times: Times,
    output: OutputFormat,
    traits: Traits,
    *,
    alphas: Sequence[NDArray[np.uint8] | None],
    suffix: str = "",
    colors: bool = True,
) -> EncodedImage:
    """Write the results of the frames of an animation, or of the pages of a document, as one image file.

    Args:
        frames: result of each, as ``write_image`` takes it, in their order.
        times: times of the frames.
        output: format of the file, and what it keeps.
        traits: traits of the input, but its alpha.
        alphas: alpha of each frame of the input, uint8 [H, W, 1]; None for a frame without.
        suffix: see ``write_image``.
        colors: see ``write_image``.

    Returns:
        The file; equal arguments give equal bytes.

    Raises:
        ImageError: the format does not hold several pictures, or not so many pixels.
    """
    notes: list[str] = []
    encoder = encoder_of(output.format, suffix, traits.format)
    if output.alpha == "keep":
        frames = [
            pixels if alpha is None else _transparent(pixels, alpha, colors=colors)
            for pixels, alpha in zip(frames, alphas, strict=True)
        ]
    channels = max(pixels.shape[2] for pixels in frames)
    held = traits_for_file(
        output, traits, channels=channels, colors=colors, most_bytes=encoder.profile_bytes, notes=notes
    )
    frames = [in_profile(pixels, output, held.icc_profile) for pixels in frames]
    return EncodedImage(data=encoder.encode_frames(frames, times, output, held, notes), warnings=tuple(notes))


def traits_for_file(
    output: OutputFormat, traits: Traits, *, channels: int, colors: bool, most_bytes: int, notes: list[str]
) -> Traits:
    """Choose what a file gets of the traits of its input.

    Args:
        output: format of the file, and what it keeps.
        traits: traits of the input.
        channels: channels of the picture.
        colors: whether the values are those of a picture, not of a mask or of labels.
        most_bytes: largest profile that the format holds.
        notes: a list that gets one line if the profile cannot be kept.

    Returns:
        The metadata, and the profile that the pixels are to be written in, see ``in_profile``; it is empty if nothing
        needs to say that they are sRGB.
    """
    kept = output.metadata == "keep"
    profile = b""
    if colors and traits.icc_profile:
        profile = _profile_for(output, traits.icc_profile, channels, most_bytes, notes)
    return Traits(
        format=traits.format,
        icc_profile=profile,
        exif=traits.exif if kept else b"",
        xmp=traits.xmp if kept else b"",
        dpi=traits.dpi if kept else None,
    )


def in_profile(pixels: NDArray[np.uint8], output: OutputFormat, profile: bytes) -> NDArray[np.uint8]:
    """Convert pixels from sRGB to the profile that their file gets.

    Args:
        pixels: uint8 [H, W, C], gray, RGB or RGBA.
        output: format of the file, and what it keeps.
        profile: the profile, from ``traits_for_file``.

    Returns:
        uint8 of the same shape; the same array if they are written in sRGB.
    """
    if not profile or output.color_profile != "keep" or profile == srgb_profile():
        return pixels
    return to_profile(pixels, profile)


def _profile_for(output: OutputFormat, profile: bytes, channels: int, most_bytes: int, notes: list[str]) -> bytes:
    """Return the profile of a file whose input has one; empty if nothing needs to say what its pixels are."""
    if output.color_profile == "keep":
        reason = "the format does not hold it"
        if len(profile) <= most_bytes:
            try:
                to_profile(np.zeros((1, 1, channels), np.uint8), profile)
            except ValueError as error:
                reason = str(error)
            else:
                return profile
        notes.append(f"the color profile cannot be kept ({reason}): the output is sRGB")
    return srgb_profile() if channels >= 3 else b""  # a gray file cannot have a profile of RGB


def _transparent(pixels: NDArray[np.uint8], alpha: NDArray[np.uint8], *, colors: bool) -> NDArray[np.uint8]:
    """Put the alpha of an image, uint8 [H, W, 1], back on its result, uint8 [s H, s W, C]."""
    height, width = pixels.shape[:2]
    if alpha.shape[:2] != (height, width):
        scaled = Image.fromarray(np.ascontiguousarray(alpha[..., 0])).resize((width, height), Image.Resampling.BILINEAR)
        alpha = np.asarray(scaled)[..., None]
    return with_alpha(pixels, alpha) if colors else np.concatenate([pixels, alpha], axis=2)
