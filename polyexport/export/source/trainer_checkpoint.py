"""What can be exported: a PyTorch module, and what the contract has to say of it.

The only module of ``polyexport.export`` that knows ``trainer``.
"""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polyexport.data.drawing_config import DrawingConfig
from polyexport.data.drawings import draw
from polyexport.model.conditions import condition_of
from polyexport.model.conditions.condition import Condition
from polyexport.model.conditions.fields import ConditionFields, Embedding, Palette
from trainer.checkpoint import load_checkpoint

__all__ = ["SIGNED", "Source", "ValueRange", "drawings", "load_source"]

_DRAWINGS_SEED = 20_260_101

ValueRange = tuple[float, float]
"""What 0 and 255 are for a network."""

SIGNED: ValueRange = (-1.0, 1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A network to export."""

    module: nn.Module
    """forward(image, condition), in evaluation mode: float32 [B, 3, H, W] in ``value_range``, and float32 [B, 3] in
    ``value_range`` (``rgb``), int64 [B] (``vocabulary``) or float32 [B, D] (``embedding``) -> float32 [B, 3, H, W] in
    ``output_range``."""

    conditioning: str
    """Kind of condition that the network was trained on: a key of ``CONDITION_MODULES``."""

    palette: Palette = ()
    """Names and sRGB values of the colors that the network knows, in index order; empty if it has no list."""

    embedding: str = ""
    """Dotted name of the submodule that makes the embedding of the condition; empty if nobody named one."""

    embedding_dim: int = 0
    """Of ``embedding`` conditioning."""

    embedding_table: NDArray[np.float32] | None = None
    """[colors, D], one row for each name of the palette, for ``embedding`` conditioning."""

    value_range: ValueRange = SIGNED
    output_range: ValueRange = SIGNED
    size_multiple: int
    training_size: int
    fixed_size: bool = False
    """The network takes ``training_size`` alone."""

    network: str
    """``trainer``, or ``package.module:Class``."""

    sha256: str
    """Of the file that held the weights."""

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
        """uint8 levels -> float32 in ``value_range``."""
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
        """The submodule that makes the embedding."""
        return self.module.get_submodule(self.embedding)

    def without_embedder(self) -> nn.Module:
        """The module with the embedding itself as its condition: forward(image, float32 [B, D])."""
        changed = copy.deepcopy(self.module)
        changed.set_submodule(self.embedding, nn.Identity())
        return changed


def load_source(checkpoint: Path) -> Source:
    """A checkpoint of ``trainer`` -> a source.

    Raises:
        CheckpointError: not a whole checkpoint of ``trainer``.
    """
    loaded = load_checkpoint(checkpoint)
    config = loaded.model.config
    return Source(
        module=loaded.model,
        conditioning=config.conditioning,
        palette=config.palette,
        embedding="color_embedding",
        size_multiple=config.size_multiple,
        training_size=loaded.training_size,
        network="trainer",
        sha256=loaded.sha256,
    )


def drawings(count: int, size: int) -> list[NDArray[np.uint8]]:
    """Generated outline drawings for checks: uint8 [size, size, 3] each, the same ones every time.

    Every other one is noisy: without noise a drawing is grey, and two exchanged channels would go unseen.
    """
    configs = [DrawingConfig(noisy=1 - i % 2) for i in range(count)]
    return [
        draw(np.random.default_rng([_DRAWINGS_SEED, size, i]), size, config).image for i, config in enumerate(configs)
    ]
