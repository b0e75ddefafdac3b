"""Embedded ICC profiles: the colors of an image converted to sRGB by littlecms.

A profile comes from an untrusted file. One that is broken, that belongs to another kind of image, or that is no
description of an image's colors is ignored with a note, and the pixels stay what they are without it.
"""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

__all__ = ["MAX_PROFILE_BYTES", "profile_space", "to_srgb"]

MAX_PROFILE_BYTES = 4 * 1024 * 1024
"""Largest ICC profile that is used, in bytes. Profiles of printing presses have 0.5 to 3 MB, others a few kB."""

_CACHED_CONVERSIONS = 8  # each holds its profile, of MAX_PROFILE_BYTES at most

# Fields of the header of a profile (ICC.1:2022, 7.2).
_HEADER_BYTES = 128
_CLASS, _SPACE, _SIGNATURE = slice(12, 16), slice(16, 20), slice(36, 40)

_IMAGE_CLASSES = (b"scnr", b"mntr", b"prtr", b"spac")
_OTHER_CLASSES = {b"link": "a device link", b"abst": "an abstract profile", b"nmcl": "a list of named colors"}
_SPACES = {b"RGB ": "RGB", b"GRAY": "gray", b"CMYK": "CMYK", b"Lab ": "LAB"}
_SPACES_OF_MODES = {"RGB": "RGB", "L": "gray", "CMYK": "CMYK", "LAB": "LAB"}

_COLOR_MODES = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK", "LAB": "LAB"}
"""Mode of a pillow image -> the mode of its colors without alpha; RGB if it is not here."""

# A profile is sRGB if its conversion to sRGB changes at most this share of the probed values, by at most one step each.
# That of the most common edition, sRGB IEC61966-2.1 of 1998, changes 0.1 % of them.
_MAX_ROUNDED_SHARE = 0.01


_Conversion = tuple[ImageCms.ImageCmsTransform, bool]
"""Conversion from the colors of one profile to sRGB, and whether it leaves colors as they are, so that it need not be
run."""


def profile_space(profile: bytes) -> str:
    """Return the kind of image that an ICC profile is for: RGB, gray, CMYK or LAB; empty if it is another."""
    return _SPACES.get(profile[_SPACE], "")


def to_srgb(image: Image.Image, profile: object, notes: list[str]) -> tuple[Image.Image, bytes]:
    """Convert the colors of an image to sRGB by an embedded profile, with the perceptual intent.

    LAB images, whose values are colors by themselves (CIELAB, D50), are converted without a profile, too.

    Args:
        image: An image in any mode of 8 bits per channel.
        profile: What the file has as its profile, untrusted; empty bytes if it has none.
        notes: A list that gets one line if there is a profile that cannot be used.

    Returns:
        The image in RGB without its alpha, or the given image itself if its colors stay as they are; and the profile
        that was used, empty if none was.
    """
    mode = _COLOR_MODES.get(image.mode, "RGB")
    used = b""
    conversion: _Conversion | str = ""
    if profile != b"":
        conversion = _usable(profile, mode)
        if isinstance(conversion, str):
            notes.append(f"the color profile is ignored: {conversion}")
        elif isinstance(profile, bytes):
            used = profile
    if isinstance(conversion, str) and mode == "LAB":
        conversion = _conversion_of_lab()
    if isinstance(conversion, str):
        return image, used
    transform, identity = conversion
    return (image if identity else transform.apply(image if image.mode == mode else image.convert(mode))), used


def _usable(profile: object, mode: str) -> _Conversion | str:
    """Return the conversion by a profile for images of a mode, or the reason why there is none."""
    if not isinstance(profile, bytes) or len(profile) < _HEADER_BYTES or profile[_SIGNATURE] != b"acsp":
        return "it is damaged"
    if len(profile) > MAX_PROFILE_BYTES:
        return f"it has {len(profile)} bytes, more than the limit of {MAX_PROFILE_BYTES}"
    if profile[_CLASS] not in _IMAGE_CLASSES:
        return f"it is {_OTHER_CLASSES.get(profile[_CLASS], 'of an unknown class')}, which describes no image"
    if (space := profile_space(profile)) != _SPACES_OF_MODES[mode]:
        return f"it is for {space or 'other'} images, and this one is {_SPACES_OF_MODES[mode]}"
    return _conversion(profile, mode)


@lru_cache(maxsize=_CACHED_CONVERSIONS)
def _conversion(profile: bytes, mode: str) -> _Conversion | str:
    """Build the conversion by a profile; the profiles of photos from one camera, or of one program, are the same."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.ImageCmsTransform(source, _srgb(), mode, "RGB")
        return transform, mode in ("RGB", "L") and _is_identity(transform, mode)
    except (OSError, ValueError, TypeError):  # everything that pillow raises where littlecms refuses
        return "it is damaged"


@lru_cache(maxsize=1)
def _conversion_of_lab() -> _Conversion:
    source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    return ImageCms.ImageCmsTransform(source, _srgb(), "LAB", "RGB"), False


@lru_cache(maxsize=1)
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _is_identity(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Return whether a transform changes none of some thousand probed colors, among them all grays, but for rounding.

    The most common profile is one of several editions of sRGB, whose conversion would take longer than decoding.
    """
    ramp = np.arange(256, dtype=np.uint8)
    grays = np.repeat(ramp[:, None], 3, axis=1)
    if mode == "L":
        probe, image = grays[None], Image.fromarray(ramp[None])
    else:
        grid = np.stack(np.meshgrid(ramp[::15], ramp[::15], ramp[::15]), axis=-1).reshape(-1, 3)
        single = [grays * (np.arange(3) == channel).astype(np.uint8) for channel in range(3)]
        probe = np.concatenate([grid, grays, *single])[None]
        image = Image.fromarray(probe)
    change = np.abs(np.asarray(transform.apply(image)).astype(np.int16) - probe)
    return int(change.max()) <= 1 and float(change.mean()) <= _MAX_ROUNDED_SHARE
