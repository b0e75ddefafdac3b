"""Gray values of more than 8 bits, and floats, scaled to 8 bits."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polyexport.imaging.codecs import codec_of

__all__ = ["ScaledGray", "is_deep_gray", "scaled_gray"]


ScaledGray = tuple[NDArray[np.uint8], NDArray[np.bool_] | None, NDArray[np.bool_] | None]
"""Values, uint8 [H, W], 0 for black; where the file is transparent, bool [H, W], None if it is nowhere; where it holds
no number, None if it holds integers."""


def is_deep_gray(image: Image.Image) -> bool:
    """Return whether an image holds integers of more than 8 bits, or floats."""
    return image.mode.startswith("I") or image.mode == "F"


def scaled_gray(image: Image.Image, opened: Image.Image, notes: list[str]) -> ScaledGray:
    """Scale gray values of more than 8 bits to 8 bits.

    Args:
        image: The upright image, in mode I or F.
        opened: The image as it was opened, which still has the tags that turning it upright loses.
        notes: A list that gets one line for each thing that was dropped.
    """
    stored = codec_of(opened.format).deep_gray(opened)
    values = np.asarray(image)
    if image.mode == "I" and not stored.signed and stored.bits == 32:
        values = values.view(np.uint32)
    unknown = None
    if image.mode == "F":
        unknown = np.isnan(values)
        if unknown.any():
            notes.append("values that are not numbers are white")
    peak = float(np.max(values, initial=0.0, where=True if unknown is None else np.isfinite(values)))
    scales: tuple[float, ...]
    if image.mode == "F":
        scales = (1.0, 255.0, 65535.0)
    elif stored.bits == 32:
        scales = (255.0, 65535.0, float(2**31 - 1), float(2**32 - 1))
    else:
        scales = (float(2 ** (stored.bits - stored.signed) - 1),)
    full_scale = next((scale for scale in scales if peak <= scale), peak)
    finite = np.nan_to_num(values.astype(np.float32), posinf=full_scale, neginf=0.0)
    gray = np.clip(np.rint(finite * np.float32(255 / full_scale)), 0, 255).astype(np.uint8)
    if stored.white_is_zero:
        gray = 255 - gray
    key = image.info.get("transparency")
    return gray, values == key if isinstance(key, int) else None, unknown
