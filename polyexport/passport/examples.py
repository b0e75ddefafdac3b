"""Inputs on which two providers are compared: the golden sample, generated pictures, and a second size."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyexport.data.drawing_config import DrawingConfig
from polyexport.data.drawings import draw
from polyexport.imaging.pixels import Pixels, decode, to_channels
from polyexport.model.conditions.condition import Condition
from polyexport.model.conditions.fields import ConditionValue
from polyexport.model.contract import IMAGE_INPUT
from polyexport.model.contract_limits import MAX_SAMPLE_SIDE
from polyexport.model.model import Model

__all__ = ["Example", "examples_for", "examples_sha256"]

_SEED = 20_261_101
_COLORS_OF_ONE_IMAGE = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """Inputs of one call."""

    name: str
    """Name for messages, such as ``golden``."""

    feeds: Mapping[str, NDArray[Any]]
    """Inputs of the graph by name."""


def examples_for(model: Model) -> tuple[Example, ...]:
    """Make the inputs of a model from its contract; equal models get equal ones.

    Returns:
        The golden sample; a drawing and a picture of noise at the training size, in one call where the graph takes
        several images; and, where it takes several sizes, a picture of another size, which is no square.
    """
    contract = model.contract
    height, width = contract.fixed_shape or (contract.training_size, contract.training_size)
    pictures = [_drawing(height, width), _noise(height, width)]
    golden = decode(
        base64.b64decode(contract.golden.image_png), max_pixels=MAX_SAMPLE_SIDE**2, channels=contract.image_channels
    ).pixels
    found = [Example(name="golden", feeds=_feeds(model, [golden], [contract.golden.values]))]
    groups = [[0], [1]] if contract.batch_one else [[0, 1]]
    for group in groups:
        name = " and ".join(("drawing", "noise")[number] for number in group)
        found.append(Example(name=name, feeds=_feeds(model, [pictures[k] for k in group], _values(model, group))))
    if contract.fixed_shape is None:
        wider = _noise(height, width + contract.size_multiple)
        found.append(Example(name="another size", feeds=_feeds(model, [wider], _values(model, [2]))))
    return tuple(found)


def examples_sha256(examples: Sequence[Example]) -> str:
    """Return the SHA-256 of all inputs, lowercase hex."""
    digest = hashlib.sha256()
    for example in examples:
        for name, value in example.feeds.items():
            digest.update(f"{name} {value.dtype.str} {value.shape}\n".encode())
            digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def _values(model: Model, numbers: Sequence[int]) -> list[tuple[ConditionValue | None, ...]]:
    """Return values for the conditions of numbered pictures: those of golden samples in turn; None for a picture."""
    known = [
        (condition.golden_values() or (golden,)) if condition.textual else (None,)
        for condition, golden in zip(model.conditions, model.contract.golden.values, strict=True)
    ]
    return [tuple(values[number % len(values)] for values in known) for number in numbers]


def _feeds(
    model: Model, images: Sequence[Pixels], values: Sequence[Sequence[ConditionValue | None]]
) -> dict[str, NDArray[Any]]:
    """Return the inputs of a call: uint8 [N, H, W, C], and the rows of each condition, [N, ...]."""
    contract = model.contract
    feeds: dict[str, NDArray[Any]] = {
        IMAGE_INPUT: np.stack([to_channels(image, contract.image_channels) for image in images])
    }
    for place, condition in enumerate(model.conditions):
        rows: list[NDArray[Any]] = []
        for image, one in zip(images, values, strict=True):
            value = one[place]
            rows.append(_turned(image, condition) if value is None else condition.encode(value))
        if contract.many_colors:
            rows = [np.repeat(row[None], _COLORS_OF_ONE_IMAGE, axis=0) for row in rows]
        feeds[condition.name] = np.stack(rows)
    return feeds


def _turned(image: Pixels, condition: Condition[Any]) -> Pixels:
    """Return a second picture for an image: the image itself, turned by half."""
    return np.ascontiguousarray(to_channels(image, condition.fields.channels)[::-1, ::-1])


def _drawing(height: int, width: int) -> Pixels:
    side = max(height, width)
    drawn = draw(np.random.default_rng([_SEED, side]), side, DrawingConfig(noisy=1.0, multiple=0.0)).image
    return np.ascontiguousarray(drawn[:height, :width])


def _noise(height: int, width: int) -> Pixels:
    """Return a picture of soft colors with noise, uint8 [height, width, 4], whose alpha varies too."""
    rng = np.random.default_rng([_SEED, height, width])
    rows, columns = np.arange(height)[:, None, None] / height, np.arange(width)[None, :, None] / width
    waves = np.sin(
        2 * np.pi * (rows * rng.uniform(0.5, 3, 4) + columns * rng.uniform(0.5, 3, 4)) + rng.uniform(0, 6, 4)
    )
    levels = 128 + 90 * waves + rng.normal(0, 12, (height, width, 4))
    made: Pixels = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return made
