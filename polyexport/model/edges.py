"""The edges of a fill: the network's picture of a drawing gets the exact edges of the drawing's ink."""

import threading
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from polyexport.imaging.pixels import Pixels

if TYPE_CHECKING:
    from polyexport.imaging.ink import Ink
    from polyexport.imaging.votes import Regions

__all__ = ["InkEdges"]

Floats = NDArray[np.float32]

Reduce = Callable[[NDArray[np.uint8], tuple[int, int], "Ink"], NDArray[np.uint8]]
"""Scales a plane down: one of the functions of ``polyexport.imaging.reduction``."""

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
        self._regions: Regions | None = None
        self._coarse_inks: dict[tuple[tuple[int, int], Reduce], Floats] = {}
        self._settled: dict[tuple[Rgb, tuple[int, int]], NDArray[np.bool_]] = {}

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

    def can_be_settled(self) -> bool:
        """Find out whether a picture of the network that may be too small can leave no doubt about the fill."""
        from polyexport.imaging.fill import can_be_settled

        return self.ink is not None and can_be_settled(self._open())

    def settles(self, output: Pixels, color: Rgb) -> bool:
        """Find out whether a picture of the network that may be too small leaves no doubt about the fill.

        Args:
            output: as of ``draw``, which then draws the fill in less time.
            color: color of the fill.
        """
        from polyexport.imaging.fill import settled_regions
        from polyexport.imaging.reduction import sketched

        coarse = _coverage(output, color)
        if self.ink is None or coarse is None:
            return True
        size = (output.shape[0], output.shape[1])
        filled = settled_regions(self._open(), coarse, self._coarse_ink(size, sketched))
        if filled is None:
            return False
        self._settled[color, size] = filled
        return True

    def draw(self, output: Pixels, color: Rgb) -> Pixels:
        """Draw the fill that the network's picture means.

        Args:
            output: the network's picture of the whole drawing, uint8 [h, w, 3], at most as large as the drawing.
            color: color of the fill.

        Returns:
            A new array, uint8 [height, width, 3]: the color where the fill is, white elsewhere.
        """
        size = (output.shape[0], output.shape[1])
        filled = self._settled.get((color, size))
        coarse = _coverage(output, color) if filled is None else None
        if self.ink is None or (filled is None and coarse is None):
            return np.full((*self._size, 3), _WHITE, np.uint8)
        from polyexport.imaging.fill import fill_coverage, settled_coverage
        from polyexport.imaging.planes import looked_up
        from polyexport.imaging.reduction import reduced

        if filled is not None:
            coverage = settled_coverage(self._open(), filled)
        else:
            assert coarse is not None
            coverage = fill_coverage(self._open(), coarse, self._coarse_ink(size, reduced))
        drop = _WHITE - np.array(color, np.float64)
        levels = np.rint(_WHITE - np.arange(256)[:, None] / 255 * drop).astype(np.uint8)
        return looked_up(coverage, levels)

    def _open(self) -> "Regions":
        """Find the regions of the drawing, once for all colors."""
        from polyexport.imaging.ink import Ink
        from polyexport.imaging.votes import find_regions

        with self._opening:
            if self._regions is None:
                assert self.ink is not None
                height, width = self._size
                packed = height * width >= _PACKED_PIXELS
                data = zlib.decompressobj().decompress(self.ink, height * width) if packed else self.ink
                self._regions = find_regions(Ink(coverage=np.frombuffer(data, np.uint8).reshape(height, width)))
            return self._regions

    def _coarse_ink(self, size: tuple[int, int], reduce: Reduce) -> Floats:
        """Return the coverage of the ink on a canvas, 0 to 1, float32 [h, w], once for all colors."""
        ink = self._open().ink
        with self._opening:
            if (size, reduce) not in self._coarse_inks:
                plane = ink.coverage if size == self._size else _WHITE - reduce(_WHITE - ink.coverage, size, ink)
                self._coarse_inks[size, reduce] = plane.astype(np.float32) / np.float32(255)
            return self._coarse_inks[size, reduce]


def _coverage(output: Pixels, color: Rgb) -> Floats | None:
    """Return how much of each pixel of a network's picture a color covers, float32 [h, w]; None for white."""
    from polyexport.imaging.planes import weighted_sum

    drop = _WHITE - np.array(color, np.float32)
    scale = float(drop @ drop)
    if not scale:
        return None
    # Products and sums are whole numbers under 2^24, exact in any order, so that every processor gets the same.
    coverage: Floats = np.minimum(weighted_sum(_WHITE - output, drop) / np.float32(scale), np.float32(1))
    return coverage
