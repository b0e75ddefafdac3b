"""Tiles: a large canvas cut into equal pieces for the network, and their outputs put together again.

A tile overlaps its neighbors. Where the overlap is twice the reach of a local network, every output pixel is taken from
a tile that holds all input pixels on which it depends, and the seams in the middle of the overlaps cannot be seen: the
result is that of the whole canvas. Where it is less, or the network is global, the outputs are blended into each other
along the overlap, and the result differs from that of the whole canvas.

Tiles are made from rows of the canvas that are asked for from top to bottom, and give rows of the output in the same
order, so that neither has to be in memory as a whole.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from polyexport.errors import UsageError
from polyexport.imaging.pixels import Pixels

__all__ = ["Span", "TileRule", "rows_of", "spans", "tiled_rows"]


_PIXELS_PER_CALL = 512**2


@dataclass(frozen=True, slots=True)
class Span:
    """Extent of one tile along an axis, pixels of the canvas."""

    start: int
    """First pixel that the network gets."""

    stop: int
    """Pixel after the last one that the network gets."""

    first: int
    """First pixel of the result that is taken from this tile where outputs are not blended."""

    last: int
    """Pixel after the last one that is taken from this tile."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TileRule:
    """The rule by which a canvas is cut into tiles.

    Raises:
        UsageError: a tile that is no multiple of what the network takes, or that is not larger than its overlaps.
    """

    side: int
    """Height and width of a tile as the network gets it, overlaps included, pixels."""

    overlap: int
    """Pixels that a tile shares with each of its neighbors."""

    multiple: int
    """The network's ``size_multiple``."""

    exact: bool = True
    """The overlap is as large as the network needs for the result of the whole canvas."""

    blended: bool = False
    """Outputs are blended along the overlaps; else a seam runs through their middle."""

    above: int = 0
    """Number of pixels up to which a canvas is not cut, whatever its sides."""

    def __post_init__(self) -> None:
        if self.side < 1 or self.side % self.multiple:
            near = max(self.multiple, self.side // self.multiple * self.multiple)
            raise UsageError(
                f"the network cannot take tiles of {self.side} pixels, only multiples of {self.multiple}",
                remedy=f"give --tile {near} or {near + self.multiple}",
            )
        if self.overlap < 0 or self.overlap % self.multiple:
            raise UsageError(
                f"the network cannot take tiles that overlap by {self.overlap} pixels, which must be a multiple of "
                f"{self.multiple}",
                remedy=f"give --overlap {max(0, self.overlap) // self.multiple * self.multiple + self.multiple}",
            )
        if self.side <= self.overlap:
            raise UsageError(
                f"tiles of {self.side} pixels are not larger than the {self.overlap} that they share with a neighbor",
                remedy=f"give --tile {2 * self.overlap} or more, or a smaller --overlap",
            )

    @property
    def per_call(self) -> int:
        """Tiles of one call of the network."""
        return max(1, _PIXELS_PER_CALL // self.side**2)

    def cuts(self, height: int, width: int) -> bool:
        """Return whether a canvas of a size is cut."""
        return height * width > self.above and (height > self.side or width > self.side)


def spans(length: int, rule: TileRule) -> list[Span]:
    """Cut one axis of a canvas into tiles.

    All tiles have the side of the rule, unless the whole axis is shorter. The last one is moved back to end where the
    canvas does, so that it overlaps the one before it by more.

    Args:
        length: extent of the canvas, pixels, a multiple of what the network takes.
        rule: side and overlap of the tiles.
    """
    if length <= rule.side:
        return [Span(0, length, 0, length)]
    step = rule.side - rule.overlap
    count = 1 + -(-(length - rule.side) // step)
    starts = [min(number * step, length - rule.side) for number in range(count)]
    found = []
    for number, start in enumerate(starts):
        stop = start + rule.side
        first = 0 if not number else start + _half(starts[number - 1] + rule.side - start, rule)
        last = length if number == count - 1 else starts[number + 1] + _half(stop - starts[number + 1], rule)
        found.append(Span(start, stop, first, last))
    return found


def _half(overlap: int, rule: TileRule) -> int:
    """Return where the seam is in an overlap: in its middle, at a multiple of what the network takes."""
    return overlap // 2 // rule.multiple * rule.multiple


def tiled_rows(
    rows: Callable[[int, int], Sequence[Pixels]],
    height: int,
    width: int,
    rule: TileRule,
    run: Callable[[list[tuple[Pixels, ...]]], Sequence[Pixels]],
    scale: Fraction,
) -> Iterator[Pixels]:
    """Yield the rows of the network's output on a canvas that is cut into tiles, from top to bottom.

    Args:
        rows: returns rows of the canvas from one number to before another, uint8 [N, width, C], and those of its second
            pictures. It is called with growing numbers; rows before the first one are not asked for again.
        height: height of the canvas, pixels.
        width: width of the canvas, pixels.
        rule: how it is cut.
        run: runs the network on equal tiles, each with those of its second pictures, and returns an output for each.
        scale: scale of the result.

    Yields:
        uint8 [n, scale x width, C]; all of them together have scale x height rows.
    """
    across = spans(width, rule)
    down = spans(height, rule)
    above: NDArray[np.float32] | None = None  # blended rows that the next tiles add to
    for number, span in enumerate(down):
        band = rows(span.start, span.stop)
        tiles = [tuple(np.ascontiguousarray(each[:, one.start : one.stop]) for each in band) for one in across]
        outputs = run(tiles)
        if not rule.blended:
            made = _joined(outputs, across, scale)
            yield made[_at(span.first - span.start, scale) : _at(span.last - span.start, scale)]
            continue
        mixed = _mixed(outputs, across, scale)
        if above is not None:
            shared = len(above)
            weight = _ramp(shared)[:, None, None]
            mixed[:shared] = above * (1 - weight) + mixed[:shared] * weight
        following = down[number + 1].start if number + 1 < len(down) else span.stop
        kept = _at(following - span.start, scale)
        above = mixed[kept:]
        yield np.clip(np.rint(mixed[:kept]), 0, 255).astype(np.uint8)


def rows_of(planes: Sequence[Pixels]) -> Callable[[int, int], Sequence[Pixels]]:
    """Return a function that ``tiled_rows`` gets the rows of a canvas and its second pictures from, all in memory."""
    return lambda first, end: [plane[first:end] for plane in planes]


def _at(place: int, scale: Fraction) -> int:
    return math.ceil(place * scale)


def _joined(outputs: Sequence[Pixels], across: Sequence[Span], scale: Fraction) -> Pixels:
    parts = [
        output[:, _at(one.first - one.start, scale) : _at(one.last - one.start, scale)]
        for output, one in zip(outputs, across, strict=True)
    ]
    return np.concatenate(parts, axis=1)


def _mixed(outputs: Sequence[Pixels], across: Sequence[Span], scale: Fraction) -> NDArray[np.float32]:
    """Blend the outputs of one row of tiles, each into the one on its left."""
    rows, _, channels = outputs[0].shape
    mixed = np.empty((rows, _at(across[-1].stop, scale), channels), np.float32)
    end = 0
    for output, one in zip(outputs, across, strict=True):
        start = _at(one.start, scale)
        shared = end - start if end else 0
        weight = _ramp(shared)[None, :, None]
        mixed[:, start : start + shared] += weight * (output[:, :shared] - mixed[:, start : start + shared])
        end = start + output.shape[1]
        mixed[:, start + shared : end] = output[:, shared:]
    return mixed


def _ramp(length: int) -> NDArray[np.float32]:
    """Return the weights of the later of two tiles along their overlap, from almost 0 to almost 1."""
    return ((np.arange(length, dtype=np.float32) + 0.5) / max(1, length)).astype(np.float32)
