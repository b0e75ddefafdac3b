"""The description of a network to export: a PyTorch module, and what the contract has to say about it."""

import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polyexport.model import contract_v2
from polyexport.model.conditions import condition_of
from polyexport.model.conditions.condition import Condition
from polyexport.model.conditions.fields import ColorFields, ConditionFields, Embedding, Palette
from polyexport.model.contract import COLORED, RESULT
from polyexport.model.result import PICTURE, ResultFields

__all__ = ["SIGNED", "TRAINER", "UNIT", "Source", "ValueRange"]

ValueRange = tuple[float, float]
"""The values of a network's tensor that the pixel values 0 and 255 are mapped to."""

TRAINER = "trainer"
"""Name of the network of a checkpoint of `polyexport train`."""

SIGNED: ValueRange = (-1.0, 1.0)
UNIT: ValueRange = (0.0, 1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A network to export, its weights loaded."""

    module: nn.Module
    """forward(image, *conditions), in evaluation mode: float32 [B, C, H, W] in ``value_range``, and the conditions in
    their order, each as its kind has it -> float32 [B, C', s H, s W] in ``output_range``:

    - color: float32 [B, 3] in ``value_range`` (``rgb``), int64 [B] (``vocabulary``) or float32 [B, D] (``embedding``);
    - label: int64 [B]; number: float32 [B]; vector: float32 [B, D];
    - image: float32 [B, channels, H, W] in 0..1.

    What a network wants otherwise, ``polyexport.export.source.adapter`` does around it."""

    conditions: tuple[ConditionFields, ...] = ()
    """Inputs of the network beside the image, in the order of its arguments. A color is described as the network was
    trained on it."""

    image_channels: int = 3
    """Channels C of the input image: 1, 3 or 4."""

    result: ResultFields = PICTURE
    """Description of the output, with its scale s and its channels C'."""

    embedding: str = ""
    """Dotted name of the submodule that makes the embedding of a color; empty if none was named."""

    value_range: ValueRange = SIGNED
    """Value range of the network's input image."""

    output_range: ValueRange = SIGNED
    """Value range of the network's output image."""

    size_multiple: int
    """Height and width of every image are multiples of this, pixels."""

    smallest_size: int = 1
    """Smallest height and width of an image, pixels."""

    training_size: int
    """Height and width of the training images, pixels; their height if ``training_width`` is another."""

    training_width: int = 0
    """Width of the training images, pixels; 0 where it is their height."""

    fixed_size: bool = False
    """The network takes images of ``training_size`` only."""

    sizes_found: bool = False
    """The sizes were found out on noise; an export takes fewer of them where the trace does not hold at all."""

    batch_one: bool = False
    """The network, or its trace, takes one image at a time."""

    network: str
    """``trainer``, ``package.module:Class``, or the name of the file that holds the whole network."""

    sha256: str
    """SHA-256 of the file that held the weights, lowercase hex."""

    weights_key: str = "."
    """Name of the set of weights in that file that was taken; ``.`` is the whole file."""

    reference: str = ""
    """Runtime of the module, as a certificate names it; empty if that is PyTorch."""

    remarks: tuple[str, ...] = ()
    """Lines for the user about what was found out: which weights were taken, what was left out, what was assumed."""

    def __post_init__(self) -> None:
        for name, (low, high) in (("value_range", self.value_range), ("output_range", self.output_range)):
            if not np.isfinite([low, high]).all() or not low < high:
                raise ValueError(f"{name} must be two growing numbers, got {low} and {high}")

    @property
    def named(self) -> str:
        """Reference that graphs are compared with, in the words of a message."""
        return "the original file" if self.reference else "the PyTorch model"

    @property
    def color(self) -> ColorFields | None:
        """The condition that is a color, as the network was trained on it; None if no condition is."""
        return next((fields for fields in self.conditions if fields.kind == "color"), None)

    @property
    def palette(self) -> Palette:
        """Names and sRGB values of the colors that the network knows, in index order; empty if it has no list."""
        return self.color.palette if self.color is not None else ()

    @property
    def fixed_shape(self) -> tuple[int, int] | None:
        """Height and width of every image, pixels; None if the network takes images of other sizes."""
        return (self.training_size, self.training_width or self.training_size) if self.fixed_size else None

    @property
    def output_name(self) -> str:
        """Name of the graph's output: that of contract version 2 where it can describe the network."""
        return COLORED if contract_v2.fits(self) else RESULT

    def scaled(self, levels: Tensor) -> Tensor:
        """Convert uint8 pixel values of any shape to float32 in ``value_range``."""
        low, high = self.value_range
        return levels.to(torch.float32) * ((high - low) / 255) + low

    def condition_fields(self, embedding: Embedding | None = None) -> tuple[ConditionFields, ...]:
        """Return the conditions as the network takes them, or as a graph does whose color is its embedding.

        Args:
            embedding: source of the vectors that the graph takes; None for the network's own color.
        """
        if embedding is None:
            return self.conditions
        return tuple(
            replace(fields, color_input="embedding", embedding=embedding) if fields.kind == "color" else fields
            for fields in self.conditions
        )

    def built_conditions(self, embedding: Embedding | None = None) -> tuple[Condition[Any], ...]:
        """Build the conditions of ``condition_fields``, anew."""
        return tuple(condition_of(fields) for fields in self.condition_fields(embedding))

    def condition_tensors(self, rows: tuple[NDArray[Any], ...]) -> tuple[Tensor, ...]:
        """Turn conditions, [B, ...] each as the network was trained on them, into the tensors that ``forward`` takes.

        Args:
            rows: for each condition its rows; pictures are uint8 [B, H, W, channels].
        """
        tensors = []
        for row in rows:
            tensor = torch.from_numpy(np.ascontiguousarray(row))
            if tensor.dtype == torch.uint8 and tensor.ndim == 4:
                tensor = (tensor.permute(0, 3, 1, 2).to(torch.float32) * (1 / 255)).contiguous()
            elif tensor.dtype == torch.uint8:
                tensor = self.scaled(tensor)
            tensors.append(tensor)
        return tuple(tensors)

    def run(self, images: NDArray[np.uint8], rows: tuple[NDArray[Any], ...]) -> Tensor:
        """Run the network on the CPU: uint8 [B, H, W, C] and conditions [B, ...] -> float32 [B, C', s H, s W].

        Args:
            images: Images of one size.
            rows: For each condition its rows, as ``condition_tensors`` takes them.
        """
        planes = self.scaled(torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).contiguous())
        with torch.inference_mode():
            output: Tensor = self.module(planes, *self.condition_tensors(rows))
        return output

    def embedder(self) -> nn.Module:
        """Return the submodule that makes the embedding of the color."""
        return self.module.get_submodule(self.embedding)

    def without_embedder(self) -> nn.Module:
        """Return a copy of the module that takes the embedding as its color: forward(image, float32 [B, D])."""
        changed = copy.deepcopy(self.module)
        changed.set_submodule(self.embedding, nn.Identity())
        return changed
