"""Color profiles of outputs: the tag of sRGB, and the way from sRGB into the profile of an input."""

import contextlib
import functools
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

__all__ = ["srgb_profile", "to_profile", "try_profile"]

_DATE = slice(24, 36)
"""Bytes of a profile's header with the time at which it was made (ICC.1:2022, 7.2)."""

_NO_DATE = b"\x07\xd0\0\1\0\1\0\0\0\0\0\0"  # 2000-01-01
_MODES = {1: ("L", "GRAY"), 3: ("RGB", "RGB ")}
"""Pillow's mode and the profile's color space for each number of channels."""

_NAMES = {"GRAY": "gray", "RGB ": "RGB"}


@functools.cache
def srgb_profile() -> bytes:
    """Return the profile of sRGB, the same bytes at any time."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[_DATE] = _NO_DATE
    return bytes(profile)


def to_profile(pixels: NDArray[np.uint8], profile: bytes) -> NDArray[np.uint8]:
    """Convert pixels from sRGB into the color space of a profile, perceptually.

    Args:
        pixels: uint8 [H, W, C], 0 to 255: gray, gray and alpha, RGB or RGBA. Alpha stays.
        profile: the profile, untrusted.

    Returns:
        uint8 of the same shape.

    Raises:
        ValueError: the profile cannot be used, or is none of gray values or RGB as the pixels have them.
    """
    channels = 1 if pixels.shape[2] < 3 else 3
    transform = _transform(profile, channels)
    image = Image.fromarray(np.ascontiguousarray(np.broadcast_to(pixels[..., :channels], (*pixels.shape[:2], 3))))
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # it is None only for a conversion in place
    colors = np.asarray(converted).reshape(*pixels.shape[:2], channels)
    return np.concatenate([colors, pixels[..., channels:]], axis=2)


def try_profile(profile: bytes) -> None:
    """Convert one pixel from sRGB into the color space of a profile, whether that works or not.

    A profile on which littlecms crashes does so here, where ``to_profile`` would.

    Args:
        profile: the profile, untrusted.
    """
    for channels in _MODES:
        with contextlib.suppress(ValueError):
            to_profile(np.zeros((1, 1, channels), np.uint8), profile)


@functools.lru_cache(maxsize=8)
def _transform(profile: bytes, channels: int) -> ImageCms.ImageCmsTransform:
    mode, space = _MODES[channels]
    try:
        target = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        found = target.profile.xcolor_space
        if found != space:
            raise ValueError(f"it is for {_NAMES.get(found, found.strip())} images, and this one is {_NAMES[space]}")
        return ImageCms.buildTransform(ImageCms.createProfile("sRGB"), target, "RGB", mode)
    except (ImageCms.PyCMSError, OSError) as error:
        raise ValueError("it has no way back from sRGB") from error
