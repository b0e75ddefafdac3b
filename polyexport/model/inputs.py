"""Inputs of a model as callers of the Python interface give them: images of several forms, and arrays for the graph."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polyexport.errors import UsageError
from polyexport.imaging.pixels import Pixels, read_image, to_channels, to_pixels
from polyexport.model.canvas import Canvas, CanvasRule
from polyexport.model.conditions.condition import Condition, ConditionRow
from polyexport.model.contract import Contract

__all__ = ["ImageLike", "batches_of_many_colors", "check_image", "checked_rows", "pixels_of", "placed"]

ImageLike = str | Path | Image.Image | NDArray[np.uint8]
"""An image as callers give it: a path, a pillow image, or uint8 [H, W, C]."""


def pixels_of(image: ImageLike, channels: int) -> Pixels:
    """Read an image in any form.

    Args:
        image: a path, a pillow image, or an array that already has the channels.
        channels: channels of the result; see ``polyexport.imaging.pixels.to_pixels``.

    Returns:
        uint8 [H, W, channels].

    Raises:
        ImageError: a file that cannot be read.
        UsageError: an array of another type or shape.
    """
    if isinstance(image, str | Path):
        return read_image(Path(image), channels=channels).pixels
    if isinstance(image, Image.Image):
        return to_pixels(image, channels=channels)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != channels or 0 in image.shape:
        raise UsageError(
            f"an image array is {image.dtype} {list(image.shape)}", remedy=f"give uint8 [H, W, {channels}]"
        )
    return image


def placed(image: ImageLike, rule: CanvasRule) -> Canvas:
    """Place an image in any form on its canvas, which keeps the image's colors where the result needs them.

    Raises:
        ImageError: a file that cannot be read.
        UsageError: an array of another type or shape.
    """
    channels = rule.channels
    if not rule.keep_original or (isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[2] == channels):
        return rule.place(pixels_of(image, channels))
    colors = pixels_of(image, max(3, channels))
    return replace(rule.place(to_channels(colors, channels)), original=colors)


def batches_of_many_colors(
    canvases: Sequence[Pixels], rows: Sequence[ConditionRow]
) -> Iterator[tuple[NDArray[np.uint8], NDArray[Any]]]:
    """Group pairs of an image and a color for a graph that takes several colors per image.

    Pairs that follow each other with the same array are one image of the batch; images that follow each other with
    equally many colors are one batch.

    Returns:
        For each batch, in order, its images, uint8 [N, H, W, C], and their colors, [N, K, ...].
    """
    groups: list[tuple[Pixels, list[ConditionRow]]] = []
    for canvas, row in zip(canvases, rows, strict=True):
        if not groups or groups[-1][0] is not canvas:
            groups.append((canvas, []))
        groups[-1][1].append(row)
    for count, alike in itertools.groupby(groups, key=lambda group: len(group[1])):
        batch = list(alike)
        colors = np.stack([row for _, own in batch for row in own])
        yield np.stack([canvas for canvas, _ in batch]), colors.reshape(len(batch), count, *colors.shape[1:])


def check_image(contract: Contract, images: NDArray[Any]) -> None:
    """Check that an array is what a model takes as its image.

    Args:
        contract: contract of the model.
        images: the array.

    Raises:
        UsageError: it is not uint8 [N, H, W, C] of a size that the network takes.
    """
    channels, multiple = contract.image_channels, contract.size_multiple
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != channels or 0 in images.shape:
        raise UsageError(f"image is {images.dtype} {list(images.shape)}", remedy=f"give uint8 [N, H, W, {channels}]")
    _, height, width, _ = images.shape
    fixed = contract.fixed_shape
    if fixed and (height, width) != fixed:
        raise UsageError(
            f"the network cannot take {width}x{height} pixels",
            remedy=f"give {fixed[1]}x{fixed[0]}, the only size that it knows, or use Model.apply",
        )
    if height % multiple or width % multiple or min(height, width) < contract.smallest_size:
        least = f" of at least {contract.smallest_size}" if contract.smallest_size > multiple else ""
        raise UsageError(
            f"the network cannot take {width}x{height} pixels",
            remedy=f"pad to multiples of {multiple}{least}, or use Model.apply",
        )


def checked_rows(
    contract: Contract, condition: Condition[Any], rows: NDArray[Any], images: NDArray[Any]
) -> NDArray[Any]:
    """Return the rows of a condition after checking them.

    Args:
        contract: contract of the model.
        condition: one of its conditions.
        rows: one row for each image, [N, ...]; with ``many_colors`` [N, K, ...].
        images: the images, [N, H, W, C].

    Raises:
        UsageError: another type or shape.
    """
    many = rows.shape[1:2] if contract.many_colors else ()
    row_shape = condition.row_shape if condition.textual else (*images.shape[1:3], condition.row_shape[-1])
    expected = (len(images), *many, *row_shape)
    if (rows.dtype, rows.shape) != (condition.dtype, expected) or 0 in rows.shape:
        wanted = [len(images), *(["colors"] if contract.many_colors else []), *row_shape]
        raise UsageError(
            f"{condition.name} is {rows.dtype} {list(rows.shape)}",
            remedy=f"give {condition.dtype} [{', '.join(map(str, wanted))}]",
        )
    return rows
