"""Traits of an image in an answer of a decoding process: entries that announce them, and the bytes that follow."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyexport.imaging.traits import Traits

__all__ = ["PLAIN_ENTRIES", "announced", "carried"]

PLAIN_ENTRIES = ("format", "bits")
"""Entries that announce an image with nothing beside its pixels; others have more."""


def announced(traits: Traits) -> dict[str, Any]:
    """Return the entries of an answer that announce the traits of an image."""
    entries = {"format": traits.format, "bits": traits.bits}
    data = (traits.icc_profile, traits.exif, traits.xmp)
    if not any(data) and traits.dpi is None and traits.alpha is None:
        return entries
    return entries | {"dpi": traits.dpi, "bytes": [len(one) for one in data], "alpha": traits.alpha is not None}


def carried(traits: Traits) -> list[NDArray[np.uint8] | bytes]:
    """Return what follows an answer with traits, in the order in which they are announced."""
    alpha = [] if traits.alpha is None else [np.ascontiguousarray(traits.alpha)]
    return [traits.icc_profile, traits.exif, traits.xmp, *alpha]
