"""Traits of an image in an answer of a decoding process: entries that announce them, and the bytes that follow."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyexport.imaging.traits import Traits

__all__ = ["announced", "carried"]


def announced(traits: Traits) -> dict[str, Any]:
    """Return the entries of an answer that announce the traits of an image."""
    return {
        "format": traits.format,
        "bits": traits.bits,
        "dpi": traits.dpi,
        "bytes": [len(data) for data in (traits.icc_profile, traits.exif, traits.xmp)],
        "alpha": traits.alpha is not None,
    }


def carried(traits: Traits) -> list[NDArray[np.uint8] | bytes]:
    """Return what follows an answer with traits, in the order in which they are announced."""
    alpha = [] if traits.alpha is None else [np.ascontiguousarray(traits.alpha)]
    return [traits.icc_profile, traits.exif, traits.xmp, *alpha]
