"""What can be exported: a PyTorch module, and what the contract has to say of it.

The only module of ``polyexport.export`` that knows ``trainer``.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from polyexport.contract import Conditioning
from trainer.checkpoint import load_checkpoint
from trainer.polygons import DrawingConfig, draw

__all__ = ["Source", "drawings", "load_source"]

_DRAWINGS_SEED = 20_260_101


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A network to export."""

    module: nn.Module
    """forward(image, color): float32 [B, 3, H, W] in [-1, 1], and float32 [B, 3] in [-1, 1] (``rgb``) or int64 [B]
    (``vocabulary``) -> float32 [B, 3, H, W] in [-1, 1]. In evaluation mode."""

    conditioning: Conditioning
    palette: tuple[tuple[str, tuple[int, int, int]], ...]
    size_multiple: int
    training_size: int
    sha256: str


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
        size_multiple=config.size_multiple,
        training_size=loaded.training_size,
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
