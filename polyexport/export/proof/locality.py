"""The locality of a network: read from the structure of its graph, then held against what the graph computes.

Half of an image is marked, to the left, to the right, above and below an aligned cut, and the graph is followed to the
values of its output that could change. How far they lie beyond the cut is the reach of the network. Then the graph is
run on images that differ in the marked half alone, and nothing beyond the reach may change; and images that are cut
into tiles by that reach must come out as the whole images do.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyexport.errors import PolyexportError, check_memory
from polyexport.export.graph.dependence import Dependence, UnfollowedError, cyclic_shifts, follow
from polyexport.export.graph.windows import Mask
from polyexport.export.proof.examples import Example, example_images, picture_for, setting_rows, stacked
from polyexport.export.proof.parity import CPU_OPTIONS, Candidate
from polyexport.export.source.source import Source
from polyexport.imaging.pixels import Pixels
from polyexport.model.contract import IMAGE_INPUT
from polyexport.model.locality import Locality
from polyexport.model.tiles import TileRule, rows_of, tiled_rows
from polyexport.runtime.open import open_session
from polyexport.runtime.session import Session

__all__ = ["find_locality"]

_LENGTHS = (256, 512, 1024, 2048)
"""Lengths of the images that are followed, pixels, until one is long enough for the reach of the network. Tiles of one
that reaches further would be nothing but overlap."""

_THICKNESS = 32
"""Least extent of these images across, pixels."""

_MAX_PROOF_PIXELS = 1 << 20
"""Largest image that is run whole and in tiles in both directions at once; larger ones are a strip in each."""

_CORE = 48
"""Least extent of what is kept of a tile in the middle, pixels."""

_IMAGES = 2
"""Number of images that are compared whole and in tiles."""

_AXES = (1, 2)
"""Axes of an image [N, H, W, C] that it is cut along."""


def find_locality(source: Source, candidate: Candidate, images: Sequence[Pixels] = ()) -> Locality | None:
    """Find out whether an output pixel depends on its surroundings alone.

    Args:
        source: the network.
        candidate: its final graph.
        images: images to compare tiles on, uint8 [H, W, C] each; generated drawings if empty.

    Returns:
        The locality of the graph; None for one that takes images of one size alone, which has no tiles.
    """
    if source.fixed_size:
        return None
    search = _Search(source, candidate)
    reach = 0
    bytes_per_pixel = 0
    for axis in _AXES:
        for behind in (False, True):
            found = search.reach(axis, behind=behind)
            bytes_per_pixel = max(bytes_per_pixel, found.bytes_per_pixel)
            if found.reach is None:
                return Locality(kind="global", nodes=found.nodes, bytes_per_pixel=bytes_per_pixel)
            reach = max(reach, found.reach)
    session = open_session(candidate.model.SerializeToString(), CPU_OPTIONS)
    try:
        if any(
            search.changes_beyond(session, reach, axis, behind=behind) for axis in _AXES for behind in (False, True)
        ):
            return Locality(kind="global", bytes_per_pixel=bytes_per_pixel)
        difference, values = _tiled_difference(search, session, reach, images)
    except PolyexportError:
        raise
    except Exception as error:  # noqa: BLE001 - what the graph raises on an image of another size
        check_memory(error, "comparing tiles with whole images")
        return Locality(kind="global", bytes_per_pixel=bytes_per_pixel)
    if difference > 1:
        return Locality(kind="global", bytes_per_pixel=bytes_per_pixel)
    return Locality(
        kind="local",
        reach=reach,
        tiled_max_diff=difference,
        tiled_values=values,
        bytes_per_pixel=bytes_per_pixel,
    )


@dataclass(frozen=True, slots=True)
class _Reach:
    """Reach of a graph from one side of a cut to the other."""

    reach: int | None
    """Pixels of the image beyond the cut that are reached; None if there is no end to it."""

    nodes: tuple[str, ...]
    bytes_per_pixel: int


class _Search:
    def __init__(self, source: Source, candidate: Candidate) -> None:
        self.source = source
        self._candidate = candidate
        self._length = _LENGTHS[0]
        least = max(source.smallest_size, _THICKNESS)
        self._thickness = -(-least // source.size_multiple) * source.size_multiple

    def reach(self, axis: int, *, behind: bool) -> _Reach:
        """Follow the half of an image before a cut, or behind it, to the other half."""
        for length in (each for each in _LENGTHS if each >= self._length):
            self._length = length
            shape, cut = self._shape(axis, length)
            try:
                dependence = self._follow(axis, shape, cut, behind=behind)
            except UnfollowedError as error:
                return _Reach(None, (error.node,), 0)
            pixels = shape[0] * shape[1]
            per_pixel = -(-dependence.peak_bytes // pixels)
            touched = _along(dependence.output, axis)
            place = math.ceil(cut * self.source.result.ratio)
            beyond = touched[:place][::-1] if behind else touched[place:]
            if not beyond.size or not beyond[-1]:
                last = int(np.flatnonzero(beyond)[-1]) + 1 if beyond.any() else 0
                return _Reach(math.ceil(last / self.source.result.ratio), (), per_pixel)
            if not beyond.all():  # what lies far behind the cut is reached, and what lies nearer is not
                return _Reach(None, dependence.mixing or cyclic_shifts(self._candidate.model), per_pixel)
            if dependence.mixing:
                return _Reach(None, dependence.mixing, per_pixel)
        return _Reach(None, cyclic_shifts(self._candidate.model), per_pixel)

    def changes_beyond(self, session: Session, reach: int, axis: int, *, behind: bool) -> bool:
        """Run the graph on images that differ on one side of a cut, and look at the other side beyond the reach."""
        shape, cut = self._shape(axis, self._length)
        rng = np.random.default_rng(0)
        half = slice(cut, None) if behind else slice(0, cut)
        before = self._noise(shape, rng)
        after = {name: image.copy() for name, image in before.items()}
        for image in after.values():
            changed = image[half] if axis == 1 else image[:, half]
            changed[:] = rng.integers(0, 256, changed.shape, dtype=np.uint8)
        outputs = self.run(session, [tuple(before.values()), tuple(after.values())])
        different = _along((outputs[0] != outputs[1])[None], axis)
        ratio = self.source.result.ratio
        edge = math.floor((cut - reach) * ratio) if behind else math.ceil((cut + reach) * ratio)
        return bool((different[:edge] if behind else different[edge:]).any())

    def _shape(self, axis: int, length: int) -> tuple[tuple[int, int], int]:
        """Return height and width of an image that is long along an axis, and a cut near its middle."""
        multiple = self.source.size_multiple
        length = -(-max(length, 2 * self._thickness) // multiple) * multiple
        shape = (length, self._thickness) if axis == 1 else (self._thickness, length)
        return shape, length // 2 // multiple * multiple

    @property
    def images(self) -> dict[str, int]:
        """Channels of every input that is an image, by its name; the image itself is the first."""
        pictures = {
            condition.name: int(condition.row_shape[-1])
            for condition in self._candidate.conditions
            if not condition.textual
        }
        return {IMAGE_INPUT: self.source.image_channels, **pictures}

    def feeds(self, pictures: Mapping[str, Pixels]) -> dict[str, NDArray[Any]]:
        """Return the inputs of the graph for an image and its second pictures, under the first setting of the proof."""
        values = iter(setting_rows(self.source.built_conditions())[0])
        rows = tuple(
            next(values) if condition.textual else pictures[condition.name] for condition in self._candidate.conditions
        )
        return self._candidate.feeds(*stacked([Example(pictures[IMAGE_INPUT], rows)]))

    def run(self, session: Session, tiles: Sequence[tuple[Pixels, ...]]) -> list[Pixels]:
        """Run the graph on images, each with its second pictures."""
        every = (self.feeds(dict(zip(self.images, tile, strict=True))) for tile in tiles)
        return [session.run(self._candidate.output, feeds)[0] for feeds in every]

    def _noise(self, shape: tuple[int, int], rng: np.random.Generator) -> dict[str, Pixels]:
        return {
            name: rng.integers(0, 256, (*shape, channels), dtype=np.uint8) for name, channels in self.images.items()
        }

    def _follow(self, axis: int, shape: tuple[int, int], cut: int, *, behind: bool) -> Dependence:
        line = np.arange(shape[axis - 1]) >= cut if behind else np.arange(shape[axis - 1]) < cut
        plane = line[None, :, None, None] if axis == 1 else line[None, None, :, None]
        marks: dict[str, Mask] = {
            name: np.ascontiguousarray(np.broadcast_to(plane, (1, *shape, channels)))
            for name, channels in self.images.items()
        }
        feeds = self.feeds(self._noise(shape, np.random.default_rng(0)))
        others = {name: value.shape for name, value in feeds.items() if name not in marks}
        return follow(self._candidate.model, self._candidate.output, marks, others)


def _along(mask: Mask, axis: int) -> Mask:
    """Return whether anything is marked at each place along an axis of [N, H, W, C]."""
    return np.asarray(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))


def _tiled_difference(search: _Search, session: Session, reach: int, images: Sequence[Pixels]) -> tuple[int, int]:
    """Compare whole images with the same images in tiles.

    Returns:
        The largest difference in levels, and the number of values that were compared.
    """
    source, multiple = search.source, search.source.size_multiple
    halo = -(-reach // multiple) * multiple
    core = -(-max(_CORE, source.smallest_size) // multiple) * multiple
    rule = TileRule(side=2 * halo + core, overlap=2 * halo, multiple=multiple)
    # A tile at each end, one in the middle, and one that is moved back to end where the image does.
    whole = rule.side + core + max(multiple, core // 2 // multiple * multiple)
    sizes = [(whole, whole)] if whole**2 <= _MAX_PROOF_PIXELS else [(whole, core), (core, whole)]
    largest, values = 0, 0
    for height, width in sizes:
        for number, image in enumerate(example_images(source, images[:_IMAGES], height, width, _IMAGES)):
            planes = [
                image if name == IMAGE_INPUT else picture_for(image, number, channels)
                for name, channels in search.images.items()
            ]
            run = partial(search.run, session)
            found = np.concatenate(list(tiled_rows(rows_of(planes), height, width, rule, run, source.result.ratio)))
            difference = np.abs(found.astype(np.int16) - run([tuple(planes)])[0])
            largest, values = max(largest, int(difference.max())), values + difference.size
    return largest, values
