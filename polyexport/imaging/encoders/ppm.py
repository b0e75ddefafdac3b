"""Writer of the Netpbm formats: gray pixels as binary PGM, colors as binary PPM, whatever the suffix."""

import numpy as np
from numpy.typing import NDArray

from polyexport.imaging.encoders.encoder import Encoder
from polyexport.imaging.output_format import OutputFormat
from polyexport.imaging.traits import Traits

__all__ = ["PPM"]

_MAGIC = {1: "P5", 3: "P6"}


class _Ppm(Encoder):
    def write(self, pixels: NDArray[np.uint8], output: OutputFormat, traits: Traits, notes: list[str]) -> bytes:
        """See ``Encoder``."""
        height, width, channels = pixels.shape
        return f"{_MAGIC[channels]}\n{width} {height}\n255\n".encode() + pixels.tobytes()


PPM = _Ppm(name="PPM", suffixes=(".ppm", ".pgm", ".pbm", ".pnm"), max_side=2**31 - 1, alpha=False)
