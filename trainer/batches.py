"""Streams of training batches: drawings made on the fly, or pairs from a folder.

A batch is three uint8 tensors: image [B, H, W, 3], color [B, 3], colored [B, H, W, 3]. Batch ``i`` of a stream depends
on the seed and ``i`` alone, however many worker processes draw.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from polyexport.data.drawing_config import DrawingConfig
from polyexport.data.drawings import Drawing, draw, random_color

__all__ = ["Batch", "BatchStream", "PairConfig", "SizedBatch", "collate", "pair_batches", "synthetic_batches"]

Batch = tuple[Tensor, Tensor, Tensor]
MakeBatch = Callable[[np.random.Generator], Batch]


@dataclass(frozen=True, kw_only=True, slots=True)
class SizedBatch:
    """One kind of batch in the training mix."""

    size: int
    """Height and width, pixels."""

    batch_size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PairConfig:
    """How the pairs of a data set are varied. Every pair also appears under the eight symmetries of the square."""

    recolor: float = 0.8
    """Probability of another fill colour, for pairs whose output is one flat colour on white; others keep theirs."""

    shift: float = 0.8
    """Probability of another place, for pairs whose drawing has white borders to move within."""

    drawings: DrawingConfig = field(default_factory=DrawingConfig)
    """Decides which colours recolouring draws from; nothing else of it counts."""

    def __post_init__(self) -> None:
        if not (0 <= self.recolor <= 1 and 0 <= self.shift <= 1):
            raise ValueError(f"recolor and shift are probabilities, got {self.recolor} and {self.shift}")


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


def pair_batches(pairs: list[Drawing], batch_size: int, config: PairConfig) -> MakeBatch:
    """Pairs of a data set, drawn with replacement and varied."""
    alphas = [_alpha(pair) for pair in pairs]

    def vary(rng: np.random.Generator, index: int) -> Drawing:
        pair, alpha = pairs[index], alphas[index]
        if alpha is not None and rng.random() < config.recolor:
            pair = _recolored(pair, alpha, random_color(rng, config.drawings))
        if rng.random() < config.shift:
            pair = _shifted(pair, rng)
        return _turned(pair, int(rng.integers(8)))

    def make(rng: np.random.Generator) -> Batch:
        return collate([vary(rng, int(index)) for index in rng.integers(len(pairs), size=batch_size)])

    return make


def _alpha(pair: Drawing) -> NDArray[np.float32] | None:
    """The fill's coverage [H, W, 1], 0 to 1, if the output is that much of its colour on white; None if it is not."""
    color = np.array(pair.color, dtype=np.float32)
    channel = int(color.argmin())
    if color[channel] > 127:
        return None  # too close to white to tell the coverage exactly
    alpha = (255 - pair.colored[..., channel, None].astype(np.float32)) / (255 - color[channel])
    flat = np.abs(255 + (color - 255) * alpha - pair.colored).max() <= 2 and alpha.max() <= 1
    return alpha if flat else None


def _recolored(pair: Drawing, alpha: NDArray[np.float32], color: tuple[int, int, int]) -> Drawing:
    colored = np.rint(255 + (np.array(color, dtype=np.float32) - 255) * alpha).astype(np.uint8)
    return replace(pair, color=color, colored=colored)


def _shifted(pair: Drawing, rng: np.random.Generator) -> Drawing:
    """Moved within the white borders that both images share, so that nothing is cut off."""
    image, colored = pair.image, pair.colored
    for axis in (0, 1):
        used = np.flatnonzero(((image != 255) | (colored != 255)).any(axis=(1 - axis, 2)))
        if len(used):
            by = int(rng.integers(-used[0], image.shape[axis] - used[-1]))
            image, colored = np.roll(image, by, axis=axis), np.roll(colored, by, axis=axis)
    return replace(pair, image=image, colored=colored)


def _turned(pair: Drawing, symmetry: int) -> Drawing:
    def turn(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        turned = np.rot90(pixels[:, ::-1] if symmetry >= 4 else pixels, symmetry % 4)
        return np.ascontiguousarray(turned)

    return replace(pair, image=turn(pair.image), colored=turn(pair.colored))


class BatchStream(IterableDataset[Batch]):
    """Batches ``start``, ``start + step``, ``start + 2 step``, ... of the endless stream of ``make`` and a seed."""

    def __init__(self, make: MakeBatch, *, seed: int, start: int = 0, step: int = 1) -> None:
        self.make = make
        self.seed = seed
        self.start = start
        self.step = step

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        number, count = (worker.id, worker.num_workers) if worker else (0, 1)
        for index in itertools.count(self.start + number * self.step, count * self.step):
            yield self.make(np.random.default_rng([self.seed, index]))
