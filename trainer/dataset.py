"""Streams of training batches: drawings made on the fly, or pairs from a folder.

A batch is three uint8 tensors: image [B, H, W, 3], color [B, 3], colored [B, H, W, 3]. Batch ``i`` of a stream depends
on the seed and ``i`` alone, however many worker processes draw.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from trainer.polygons import Drawing, DrawingConfig, draw

__all__ = ["Batch", "BatchStream", "SizedBatch", "collate", "pair_batches", "synthetic_batches"]

Batch = tuple[Tensor, Tensor, Tensor]
MakeBatch = Callable[[np.random.Generator], Batch]


@dataclass(frozen=True, kw_only=True, slots=True)
class SizedBatch:
    """One kind of batch in the training mix."""

    size: int
    """Height and width, pixels."""

    batch_size: int


def collate(drawings: list[Drawing]) -> Batch:
    """Drawings of one size -> a batch."""
    return (
        torch.from_numpy(np.stack([drawing.image for drawing in drawings])),
        torch.tensor([drawing.color for drawing in drawings], dtype=torch.uint8),
        torch.from_numpy(np.stack([drawing.colored for drawing in drawings])),
    )


def synthetic_batches(mix: tuple[SizedBatch, ...], config: DrawingConfig) -> MakeBatch:
    """Generated drawings, each batch of one size drawn from ``mix`` with equal odds."""

    def make(rng: np.random.Generator) -> Batch:
        kind = mix[int(rng.integers(len(mix)))]
        return collate([draw(rng, kind.size, config) for _ in range(kind.batch_size)])

    return make


def pair_batches(pairs: list[Drawing], batch_size: int) -> MakeBatch:
    """Pairs of a data set, drawn with replacement, each under one of the eight symmetries of the square."""

    def make(rng: np.random.Generator) -> Batch:
        chosen = [pairs[i] for i in rng.integers(len(pairs), size=batch_size)]
        return collate([_turned(pair, int(rng.integers(8))) for pair in chosen])

    return make


def _turned(pair: Drawing, symmetry: int) -> Drawing:
    def turn(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        turned = np.rot90(pixels[:, ::-1] if symmetry >= 4 else pixels, symmetry % 4)
        return np.ascontiguousarray(turned)

    return Drawing(shape=pair.shape, color=pair.color, image=turn(pair.image), colored=turn(pair.colored))


class BatchStream(IterableDataset[Batch]):
    """``count`` batches, or an endless stream if None, from ``make`` and a seed."""

    def __init__(self, make: MakeBatch, *, seed: int, count: int | None = None) -> None:
        self.make = make
        self.seed = seed
        self.count = count

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        index, step = (worker.id, worker.num_workers) if worker else (0, 1)
        while self.count is None or index < self.count:
            yield self.make(np.random.default_rng([self.seed, index]))
            index += step
