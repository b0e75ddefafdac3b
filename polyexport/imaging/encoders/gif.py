"""Writer of GIF: 256 colors, or 255 and a transparent one."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polyexport.imaging.encoders.encoder import Encoder
from polyexport.imaging.matte import on_white
from polyexport.imaging.output_format import OutputFormat
from polyexport.imaging.traits import Traits

__all__ = ["GIF"]

_CLEAR = 255
"""Index of the transparent color, where there is one."""

_OPAQUE = 128
"""Lowest alpha of a pixel that is opaque: GIF has nothing between opaque and transparent."""


class _Gif(Encoder):
    def write(self, pixels: NDArray[np.uint8], output: OutputFormat, traits: Traits, notes: list[str]) -> bytes:
        """See ``Encoder``."""
        clear = pixels[..., -1] < _OPAQUE if pixels.shape[2] == 4 else None
        if clear is not None and not np.isin(pixels[..., 3], (0, 255)).all():
            notes.append("GIF holds no partial transparency: made opaque on white, or transparent")
        colors = Image.fromarray(np.ascontiguousarray(pixels if clear is None else on_white(pixels)))
        count = 256 if clear is None else _CLEAR
        if colors.getcolors(count) is None:
            notes.append(f"GIF holds {count} colors: the others are replaced by similar ones")
        image = colors.quantize(count, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        buffer = io.BytesIO()
        if clear is None:
            image.save(buffer, "GIF")
        else:
            indexes = np.where(clear, np.uint8(_CLEAR), np.asarray(image))
            palette = bytes(image.getpalette() or ()).ljust(3 * (_CLEAR + 1), b"\xff")
            image = Image.fromarray(indexes)
            image.putpalette(palette)
            image.save(buffer, "GIF", transparency=_CLEAR)
        return buffer.getvalue()


GIF = _Gif(name="GIF", suffixes=(".gif",), max_side=65535, gray=False)
