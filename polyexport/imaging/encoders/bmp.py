"""Writer of BMP, the bitmap file of Windows: gray or RGB, without compression."""

import numpy as np
from numpy.typing import NDArray

from polyexport.imaging.encoders.encoder import Encoder, save
from polyexport.imaging.output_format import OutputFormat
from polyexport.imaging.traits import Traits

__all__ = ["BMP"]


class _Bmp(Encoder):
    def write(self, pixels: NDArray[np.uint8], output: OutputFormat, traits: Traits, notes: list[str]) -> bytes:
        """See ``Encoder``."""
        return save(pixels, "BMP", dpi=traits.dpi or (0, 0))


BMP = _Bmp(name="BMP", suffixes=(".bmp",), max_side=2**31 - 1, alpha=False, held=frozenset({"dpi"}))
