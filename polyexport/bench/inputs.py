"""Inputs of the network for benchmarks: one outline drawing, and conditions."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from polyexport.data.drawings import draw
from polyexport.errors import UsageError
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.color import parse_color
from polyexport.imaging.pixels import to_channels
from polyexport.model.conditions.color_condition import ColorCondition
from polyexport.model.conditions.condition import ConditionRow
from polyexport.model.model import Model

__all__ = ["checked_size", "inputs", "palette_inputs", "write_drawings"]

_MAX_PIXELS = 16 * 1024 * 1024  # activations of a full-width network take about 2 KiB per pixel
_DRAWINGS = 256
_COLOR_NAMES = ("tomato", "lime", "blue", "gold", "teal", "purple", "red", "navy")


def checked_size(model: Model, wanted: int, images: int = 1) -> int:
    """Height and width to measure at, pixels.

    Args:
        model: the model that is measured.
        wanted: height and width; 0 is the model's training size.
        images: largest number of images, or of colors of one image, in one call.

    Raises:
        UsageError: the network cannot take the size, or a call would have too many pixels.
    """
    size = wanted or model.contract.training_size
    if size % model.contract.size_multiple:
        raise UsageError(
            f"the network cannot take size {size}", remedy=f"give a multiple of {model.contract.size_multiple}"
        )
    if model.contract.fixed_size and size != model.contract.training_size:
        raise UsageError(f"the network takes size {model.contract.training_size} alone", remedy="leave out --size")
    if images * size * size > _MAX_PIXELS:
        raise UsageError(
            f"{images} images of {size}x{size} are more than {_MAX_PIXELS} pixels",
            remedy="give a smaller --batch-size, --colors or --size",
        )
    return size


def inputs(model: Model, size: int, batch_size: int = 1) -> tuple[NDArray[Any], ...]:
    """Return the arguments of ``Model.run`` for a batch of one outline drawing, all under the same conditions.

    The image is an outline and not noise, though a convolution takes as long on either.

    Args:
        model: the model that is measured.
        size: height and width, pixels; a model of one size that is no square has its own.
        batch_size: number N of images.

    Returns:
        uint8 [N, size, size, C], and the rows of each condition, [N, ...].
    """
    height, width = model.contract.fixed_shape or (size, size)
    image = to_channels(_outline(max(height, width))[:height, :width], model.contract.image_channels)
    arrays = [image]
    for condition, value in zip(model.conditions, model.contract.golden.values, strict=True):
        if isinstance(condition, ColorCondition):
            (row,) = _color_rows(condition, 1)
            arrays.append(row[None] if model.contract.many_colors else row)
        elif condition.textual:
            arrays.append(condition.encode(value))
        else:
            arrays.append(to_channels(_outline(max(height, width))[:height, :width], condition.fields.channels))
    return tuple(np.repeat(array[None], batch_size, axis=0) for array in arrays)


def palette_inputs(model: Model, size: int, colors: int) -> tuple[NDArray[np.uint8], ConditionRow]:
    """One outline drawing in several colors, for ``Model.run``.

    A model that takes one color for each image gets a batch of equal images.

    Raises:
        UsageError: the model takes no color, or more than that.
    """
    condition = model.color_condition
    if len(model.conditions) > 1:
        raise UsageError("the model takes more than a color", remedy="leave out --scenario palette")
    many = model.contract.many_colors
    image = np.repeat(_outline(size)[None], 1 if many else colors, axis=0)
    rows = _color_rows(condition, colors)
    return image, rows[None] if many else rows


def write_drawings(folder: Path, size: int) -> Path:
    """Write 256 generated drawings as PNG files into a new folder, and return it; the same for one size.

    Args:
        folder: the folder, which must not exist.
        size: height and width of the drawings, pixels.
    """
    folder.mkdir()
    for number in range(_DRAWINGS):
        (folder / f"{number:03}.png").write_bytes(encode_png(draw(np.random.default_rng(number), size).image))
    return folder


def _color_rows(condition: ColorCondition, colors: int) -> ConditionRow:
    """Rows of the color input, one for each color; a model that knows fewer colors gets the first ones again."""
    palette = condition.fields.palette
    known = [rgb for _, rgb in palette] or [parse_color(name).rgb for name in _COLOR_NAMES]
    return np.stack([condition.row(rgb) for rgb in itertools.islice(itertools.cycle(known), colors)])


def _outline(size: int) -> NDArray[np.uint8]:
    """A black pentagon on white, uint8 [size, size, 3]."""
    canvas = Image.new("RGB", (size, size), "white")
    margin = size // 8
    ImageDraw.Draw(canvas).regular_polygon((size / 2, size / 2, size / 2 - margin), 5, outline="black")
    return np.asarray(canvas)
