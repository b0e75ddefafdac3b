"""Examples of a proof: images and the conditions that each of them is run under."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polyexport.export.proof.drawings import drawings
from polyexport.export.source.source import Source
from polyexport.imaging.pixels import Pixels, to_channels
from polyexport.model.canvas import resized
from polyexport.model.conditions.condition import Condition, ConditionRow
from polyexport.model.contract import COLORED
from polyexport.model.settings import Setting

__all__ = ["Example", "example_images", "fitted", "picture_for", "placed", "setting_rows", "stacked"]


@dataclass(frozen=True, slots=True)
class Example:
    """One image and the conditions that it is run under."""

    image: Pixels
    """uint8 [H, W, C]."""

    rows: tuple[ConditionRow, ...]
    """A row for each condition, as the network was trained on it; pictures are uint8 [H, W, channels]."""


def stacked(examples: Sequence[Example]) -> tuple[NDArray[np.uint8], tuple[NDArray[Any], ...]]:
    """Return the images of examples, [B, H, W, C], and the rows of each condition, [B, ...]."""
    rows = zip(*(example.rows for example in examples), strict=True)
    return np.stack([example.image for example in examples]), tuple(np.stack(row) for row in rows)


def example_images(source: Source, images: Sequence[Pixels], height: int, width: int, count: int) -> list[Pixels]:
    """Return images of one size with the channels of a network.

    Args:
        source: The network.
        images: Images of any size, uint8 [H, W, C]; generated drawings if empty.
        height: Height of the results, pixels.
        width: Width of the results, pixels.
        count: Number of drawings that are generated.
    """
    found = list(images) or drawings(count, max(height, width))
    scaled = [placed(source, to_channels(image, source.image_channels), height, width) for image in found]
    if source.image_channels == 4 and not images:  # a drawing is opaque, and nothing would show what alpha does
        for number, image in enumerate(scaled):
            scaled[number] = np.concatenate([image[..., :3], picture_for(image, number, 1)], axis=2)
    return scaled


def placed(source: Source, image: Pixels, height: int, width: int) -> Pixels:
    """Return an image at a size as a network gets images of the user's: scaled, or cut out and continued.

    A network that the runtime gives images of the training size gets the whole image. All others get images in their
    own resolution: the middle of a larger one, and a smaller one with its last row and column repeated.
    """
    if source.output_name == COLORED or source.fixed_size:
        return fitted(image, height, width)
    top, left = max(0, image.shape[0] - height) // 2, max(0, image.shape[1] - width) // 2
    middle = image[top : top + height, left : left + width]
    missing = ((0, height - middle.shape[0]), (0, width - middle.shape[1]), (0, 0))
    return np.ascontiguousarray(np.pad(middle, missing, mode="edge"))


def fitted(image: Pixels, height: int, width: int) -> Pixels:
    """Return an image at a size, pixels; the same array if it has it."""
    if image.shape[:2] == (height, width):
        return image
    return resized(image, (height, width), Image.Resampling.BICUBIC)


def setting_rows(
    conditions: Sequence[Condition[Any]], settings: Sequence[Setting] = ()
) -> list[tuple[ConditionRow, ...]]:
    """Return the settings of a proof: a row for each condition that text gives, as the network was trained on it.

    Every value of ``Condition.proof_rows`` is in one of the settings; conditions of several values vary together.

    Args:
        conditions: The conditions of a network.
        settings: Settings that take the place of these.
    """
    if settings:
        given = [_trained(condition) for condition in conditions if condition.textual]
        return [
            tuple(condition.row(value) for condition, value in zip(given, setting.values, strict=True))
            for setting in settings
        ]
    rows = [_trained(condition).proof_rows() for condition in conditions if condition.textual]
    count = max(map(len, rows), default=1)
    # The shift lets values of conditions that have equally many meet others in a second round.
    return [
        tuple(row[(k + place * (k // len(row))) % len(row)] for place, row in enumerate(rows)) for k in range(count)
    ]


def _trained(condition: Condition[Any]) -> Condition[Any]:
    trained: Condition[Any] = getattr(condition, "trained", condition)
    return trained


def picture_for(image: Pixels, number: int, channels: int) -> Pixels:
    """Return a second picture for an image: a mask with a rectangle and a soft edge, or the image turned around.

    Args:
        image: uint8 [H, W, C].
        number: Number of the image; pictures of different numbers differ.
        channels: 1, 3 or 4.
    """
    height, width = image.shape[:2]
    if channels > 1:
        return np.ascontiguousarray(to_channels(image, channels)[::-1, :: 1 if number % 2 else -1])
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]
    top, left = height * (1 + number % 3) // 6, width * (1 + number % 4) // 6
    inside = np.minimum(rows - top, top + height // 2 - rows), np.minimum(columns - left, left + width // 2 - columns)
    mask: Pixels = np.clip(128 + 64 * np.minimum(*inside), 0, 255).astype(np.uint8)
    return mask[..., None]
