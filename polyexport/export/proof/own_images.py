"""Images that a user gave for an export, and the parts of them on which graphs are calibrated and judged."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polyexport.export.proof.drawings import drawings
from polyexport.export.proof.examples import Example, fitted, picture_for, setting_rows
from polyexport.export.source.source import Source
from polyexport.imaging.pixels import Pixels, to_channels
from polyexport.model.canvas import CanvasRule, resized
from polyexport.model.contract import COLORED
from polyexport.model.settings import Setting

__all__ = ["MAX_OWN_IMAGES", "OwnImages", "Tile", "bounded", "drawn_images", "rule_of", "tiles"]

MAX_OWN_IMAGES = 64
"""Images on which a graph is calibrated and judged; further ones would cost time and tell little more."""

_LEAST_TILE, _LARGEST_TILE = 64, 256
_LARGEST_SIDE = 2048
_PLACES = 5  # along each axis, that a part of an image is chosen from


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnImages:
    """Images of a user, each with its second pictures, and the settings of the conditions that they are run under."""

    images: tuple[Pixels, ...] = ()
    """uint8 [H, W, C] each, with the channels of the network."""

    pictures: Mapping[str, Sequence[Pixels]] = field(default_factory=dict)
    """For a condition that is a picture one for each image, of its size, uint8 [H, W, channels]; a condition that is
    missing gets pictures made from the images."""

    settings: tuple[Setting, ...] = ()
    """Values of the conditions that text gives; those of the proof if empty."""

    def __post_init__(self) -> None:
        if any(len(pictures) != len(self.images) for pictures in self.pictures.values()):
            raise ValueError("there must be a second picture for each image")

    @property
    def sha256(self) -> str:
        """SHA-256 of the decoded images, lowercase hex: of each its shape, three 32-bit integers, and its pixels."""
        digest = hashlib.sha256()
        for image in self.images:
            digest.update(np.array(image.shape, "<u4").tobytes())
            digest.update(image.tobytes())
        return digest.hexdigest()


def bounded(source: Source, image: Pixels) -> Pixels:
    """Return as much of an image as an export needs of it, so that many large ones fit into the memory.

    The middle of an image that the network gets in its own resolution, and a smaller image where it gets it scaled down
    anyway.
    """
    height, width = image.shape[:2]
    if max(height, width) <= _LARGEST_SIDE:
        return image
    if rule_of(source).mode == "fit":
        scale = _LARGEST_SIDE / max(height, width)
        size = max(1, round(height * scale)), max(1, round(width * scale))
        return resized(image, size, Image.Resampling.LANCZOS)
    top, left = (max(0, side - _LARGEST_SIDE) // 2 for side in (height, width))
    return np.ascontiguousarray(image[top : top + _LARGEST_SIDE, left : left + _LARGEST_SIDE])


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of an image on its canvas, and the conditions that it is run under."""

    example: Example
    inner: tuple[int, int]
    """Rows and columns that are image rather than padding, from the top left corner."""


def drawn_images(source: Source, count: int) -> OwnImages:
    """Return generated drawings in place of images that nobody gave."""
    size = _tile_side(source)
    return OwnImages(images=tuple(to_channels(image, source.image_channels) for image in drawings(count, size)))


def rule_of(source: Source) -> CanvasRule:
    """Return the rule by which the runtime places images on canvases for a network, unless it is told otherwise."""
    old = source.output_name == COLORED
    return CanvasRule.for_size(
        "fit" if old or source.fixed_size else "native",
        training_size=source.training_size,
        multiple=source.size_multiple,
        fixed_shape=source.fixed_shape,
        smallest=source.smallest_size,
        white=old,
        channels=source.image_channels,
    )


def tiles(source: Source, own: OwnImages) -> list[Tile]:
    """Place each image as the runtime does, and of a large canvas take the part with the most contrast.

    The images take turns with the settings.
    """
    rule, side = rule_of(source), _tile_side(source)
    rows = setting_rows(source.built_conditions(), own.settings)
    found = []
    for number, image in enumerate(own.images):
        canvas = rule.place(to_channels(image, source.image_channels))
        second = [
            rule.for_picture(channels).place(fitted(to_channels(picture, channels), *image.shape[:2])).pixels
            for channels, picture in _second(source, own, number)
        ]
        top, left = (0, 0) if source.fixed_size else _busiest(canvas.pixels, side, source.size_multiple)
        window = (slice(None),) * 2 if source.fixed_size else (slice(top, top + side), slice(left, left + side))
        pixels = np.ascontiguousarray(canvas.pixels[window])
        values, pictures = iter(rows[number % len(rows)]), iter(second)
        merged = tuple(
            np.ascontiguousarray(next(pictures)[window]) if fields.kind == "image" else next(values)
            for fields in source.conditions
        )
        inner = (
            min(pixels.shape[0], canvas.inner_height - top),
            min(pixels.shape[1], canvas.inner_width - left),
        )
        found.append(Tile(Example(pixels, merged), inner))
    return found


def _second(source: Source, own: OwnImages, number: int) -> Iterator[tuple[int, Pixels]]:
    image = own.images[number]
    for fields in source.conditions:
        if fields.kind == "image":
            given = own.pictures.get(fields.name)
            yield fields.channels, given[number] if given else picture_for(image, number, fields.channels)


def _tile_side(source: Source) -> int:
    """Return the largest side of a part: about the training size, and bounded, because every part is run often."""
    wanted = max(_LEAST_TILE, source.smallest_size, min(source.training_size, _LARGEST_TILE))
    return -(-wanted // source.size_multiple) * source.size_multiple


def _busiest(pixels: NDArray[np.uint8], side: int, multiple: int) -> tuple[int, int]:
    """Return top and left of the part with the largest variance among a few that cover an image, aligned."""
    tops, lefts = (
        sorted({int(at) // multiple * multiple for at in np.linspace(0, max(0, extent - side), _PLACES)})
        for extent in pixels.shape[:2]
    )
    places = [(top, left) for top in tops for left in lefts]
    return max(places, key=lambda at: float(pixels[at[0] : at[0] + side, at[1] : at[1] + side].var()))
