"""The edges of a fill: the network's picture of a drawing gets the exact edges of the drawing's ink."""

import threading
import zlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from polyexport.imaging.pixels import Pixels

if TYPE_CHECKING:
    from polyexport.imaging.fill import Regions

__all__ = ["InkEdges"]

Rgb = tuple[int, int, int]
"""sRGB, 0 to 255."""

_WHITE = 255
_PACKED_PIXELS = 1 << 19
"""Pixels from which the ink waits compressed, so that many large drawings can be under way. It is white for the most
part, and takes a hundredth of the memory."""


class InkEdges:
    """The ink of one drawing, which all colors of the drawing share. Safe to call from several threads."""

    def __init__(self, ink: bytes | None, height: int, width: int) -> None:
        """Prepare the edges of one drawing.

        Args:
            ink: the ``ink`` of another object for the same drawing: the coverage of its pixels in reading order,
                compressed by zlib from 2^19 pixels on; None for a drawing without ink.
            height: height of the drawing, pixels.
            width: width of the drawing, pixels.
        """
        self.ink = ink
        """Coverage of the drawing's ink, packed; None for a drawing without ink, which stays white."""
        self._size = (height, width)
        self._opening = threading.Lock()
        self._opened: tuple[Regions, NDArray[np.float32]] | None = None

    @classmethod
    def of(cls, coverage: NDArray[np.uint8] | None, height: int, width: int) -> "InkEdges":
        """Prepare the edges of one drawing.

        Args:
            coverage: coverage of the drawing's ink, uint8 [height, width]; None for a drawing without ink.
            height: height of the drawing, pixels.
            width: width of the drawing, pixels.
        """
        if coverage is None:
            return cls(None, height, width)
        data = coverage.tobytes()
        return cls(zlib.compress(data, 1) if len(data) >= _PACKED_PIXELS else data, height, width)

    def draw(self, output: Pixels, color: Rgb) -> Pixels:
        """Draw the fill that the network's picture means.

        Args:
            output: the network's picture of the whole drawing, uint8 [h, w, 3], at most as large as the drawing. All
                colors of a drawing have pictures of one size.
            color: color of the fill.

        Returns:
            A new array, uint8 [height, width, 3]: the color where the fill is, white elsewhere.
        """
        drop = _WHITE - np.array(color, np.float32)
        scale = float(drop @ drop)
        if self.ink is None or not scale:
            return np.full((*self._size, 3), _WHITE, np.uint8)
        from polyexport.imaging.fill import fill_coverage
        from polyexport.imaging.planes import looked_up, weighted_sum

        regions, coarse_ink = self._open((output.shape[0], output.shape[1]))
        # Products and sums are whole numbers under 2^24, exact in any order, so that every processor gets the same.
        drops = weighted_sum(_WHITE - output, drop)
        coarse = np.minimum(drops / np.float32(scale), np.float32(1))
        levels = np.rint(_WHITE - np.arange(256)[:, None] / 255 * drop.astype(np.float64)).astype(np.uint8)
        return looked_up(fill_coverage(regions, coarse, coarse_ink), levels)

    def _open(self, size: tuple[int, int]) -> "tuple[Regions, NDArray[np.float32]]":
        """Find the regions of the drawing and the ink's coverage at a coarse size, once for all colors."""
        from polyexport.imaging.fill import find_regions
        from polyexport.imaging.ink import Ink
        from polyexport.imaging.reduction import reduced

        with self._opening:
            if self._opened is None:
                assert self.ink is not None
                height, width = self._size
                packed = height * width >= _PACKED_PIXELS
                data = zlib.decompressobj().decompress(self.ink, height * width) if packed else self.ink
                ink = Ink(coverage=np.frombuffer(data, np.uint8).reshape(height, width))
                coarse = ink.coverage if size == self._size else _WHITE - reduced(_WHITE - ink.coverage, size, ink)
                self._opened = find_regions(ink), coarse.astype(np.float32) / np.float32(255)
            return self._opened
