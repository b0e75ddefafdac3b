"""The description of a network to export: a PyTorch module, and what the contract has to say about it."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polyexport.model.conditions import condition_of
from polyexport.model.conditions.condition import Condition
from polyexport.model.conditions.fields import ConditionFields, Embedding, Palette
from polyexport.model.contract import Result

__all__ = ["SIGNED", "Source", "ValueRange"]

ValueRange = tuple[float, float]
"""The values of a network's tensor that the pixel values 0 and 255 are mapped to."""

SIGNED: ValueRange = (-1.0, 1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A network to export, its weights loaded."""

    module: nn.Module
    """forward(image, condition), in evaluation mode: float32 [B, 3, H, W] in ``value_range``, and float32 [B, 3] in
    ``value_range`` (``rgb``), int64 [B] (``vocabulary``) or float32 [B, D] (``embedding``) -> float32 [B, 3, H, W] in
    ``output_range``."""

    conditioning: str
    """Kind of condition that the network was trained on: a key of ``CONDITION_MODULES``."""

    palette: Palette = ()
    """Names and sRGB values of the colors that the network knows, in index order; empty if it has no list."""

    embedding: str = ""
    """Dotted name of the submodule that makes the embedding of the condition; empty if none was named."""

    embedding_dim: int = 0
    """Width D of the condition with ``embedding`` conditioning."""

    embedding_table: NDArray[np.float32] | None = None
    """[colors, D], one row for each name of the palette, for ``embedding`` conditioning."""

    value_range: ValueRange = SIGNED
    """Value range of the network's input image."""

    output_range: ValueRange = SIGNED
    """Value range of the network's output image."""

    size_multiple: int
    """Height and width of every image are multiples of this, pixels."""

    training_size: int
    """Height and width of the training images, pixels."""

    fixed_size: bool = False
    """The network takes images of ``training_size`` only."""

    result: Result = "picture"
    """The network's output: a picture, or a fill of the drawing with one color on white."""

    network: str
    """``trainer``, or ``package.module:Class``."""

    sha256: str
    """SHA-256 of the file that held the weights, lowercase hex."""

    weights_key: str = "."
    """Name of the set of weights in that file that was taken; ``.`` is the whole file."""

    remarks: tuple[str, ...] = ()
    """Lines for the user about the weights: which were taken, what was left out, what was converted."""

    def __post_init__(self) -> None:
        for name, (low, high) in (("value_range", self.value_range), ("output_range", self.output_range)):
            if not np.isfinite([low, high]).all() or not low < high:
                raise ValueError(f"{name} must be two growing numbers, got {low} and {high}")
        if self.embedding_table is not None and self.embedding_table.shape != (len(self.palette), self.embedding_dim):
            raise ValueError(
                f"the embedding's table is {list(self.embedding_table.shape)}, "
                f"expected [{len(self.palette)}, {self.embedding_dim}]"
            )

    def scaled(self, levels: Tensor) -> Tensor:
        """Convert uint8 pixel values of any shape to float32 in ``value_range``."""
        low, high = self.value_range
        return levels.to(torch.float32) * ((high - low) / 255) + low

    def condition(self, embedding: Embedding | None = None) -> Condition:
        """Return the condition as the network takes it, or as a graph takes it whose input is its embedding.

        Args:
            embedding: source of the vectors that the graph takes; None for the network's own condition.
        """
        if embedding is None and self.embedding_table is not None:
            embedding = Embedding.from_table(self.embedding_table)
        elif embedding is None and self.embedding_dim:
            embedding = Embedding(dim=self.embedding_dim)
        return condition_of(
            ConditionFields(
                conditioning=self.conditioning,
                palette=self.palette,
                color_input="embedding" if embedding else "color",
                embedding=embedding,
            )
        )

    def condition_tensor(self, rows: NDArray[Any]) -> Tensor:
        """Turn conditions, [K, ...] as ``Condition.trained`` has them, into the tensor that ``forward`` takes."""
        condition = torch.from_numpy(rows)
        return self.scaled(condition) if condition.dtype == torch.uint8 else condition

    def embedder(self) -> nn.Module:
        """Return the submodule that makes the embedding of the condition."""
        return self.module.get_submodule(self.embedding)

    def without_embedder(self) -> nn.Module:
        """Return a copy of the module that takes the embedding as its condition: forward(image, float32 [B, D])."""
        changed = copy.deepcopy(self.module)
        changed.set_submodule(self.embedding, nn.Identity())
        return changed
