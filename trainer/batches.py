"""Streams of training batches: drawings generated during the training, or pairs of a data set.

A batch is three tensors: the pictures, the conditions and the targets. Batch ``i`` of a stream depends on the seed and
``i`` only, whatever the number of worker processes.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from polyexport.data.drawing_config import DrawingConfig
from polyexport.data.drawings import DrawingsConfig, draw, random_color
from polyexport.imaging.pixels import MAX_TRAINING_SIZE
from trainer.example import Example, example_of
from trainer.network import ModelConfig

__all__ = [
    "Batch",
    "BatchStream",
    "PairConfig",
    "SizedBatch",
    "collate",
    "generated_mix",
    "is_fill",
    "network_inputs",
    "pair_batches",
    "synthetic_batches",
]

_WHITE = 255

Batch = tuple[Tensor, Tensor, Tensor]
"""Image, uint8 [B, H, W, 3]; condition: color, uint8 [B, 3], index of a label, int64 [B], or nothing, uint8 [B, 0]; and
target, uint8 [B, H, W, 3]."""

MakeBatch = Callable[[np.random.Generator], Batch]
"""Function that makes one batch from a random generator."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SizedBatch:
    """One kind of batch in the training mix."""

    size: int
    """Height and width of the images, pixels."""

    batch_size: int
    """Number of images."""

    share: float = 1.0
    """Relative frequency of these batches."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairConfig:
    """Variation of the pairs of a data set. Each pair is also shown under the eight symmetries of the square."""

    recolor: float = 0.8
    """Probability of another fill color, for pairs whose target is one flat color on white; others keep their color."""

    shift: float = 0.8
    """Probability of another position, for pairs whose images have white borders to move within."""

    drawings: DrawingConfig = field(default_factory=DrawingConfig)
    """Configuration whose colors are used as other fill colors; its remaining fields have no effect."""

    def __post_init__(self) -> None:
        if not (0 <= self.recolor <= 1 and 0 <= self.shift <= 1):
            raise ValueError(f"recolor and shift are probabilities, got {self.recolor} and {self.shift}")


_MIX = ((1 / 3, 0.15), (2 / 3, 0.4), (1, 0.3), (4 / 3, 0.1), (8 / 3, 0.05))
"""Sizes of generated drawings in parts of the training size, with their shares of the batches; the training size itself
is the third."""


def generated_mix(batch_size: int, *, size: int = 192, multiple: int = 64) -> tuple[SizedBatch, ...]:
    """Return the usual mix of generated drawings, from a third of the training size to at most 8/3 of it.

    Args:
        batch_size: Number of images of 128 pixels. There are more of the smaller ones and fewer of the larger ones, so
            that a step costs about the same. Sizes above the training size of which that would be less than half an
            image are left out.
        size: The training size, pixels.
        multiple: Number of pixels that the network needs multiples of; sizes are rounded up to them.
    """
    shares: dict[int, float] = {}
    for part, share in _MIX:
        side = max(16, math.ceil(round(part * size) / multiple) * multiple)
        if side <= MAX_TRAINING_SIZE:
            shares[side] = shares.get(side, 0.0) + share
    counts = {side: batch_size * (128 / side) ** (1.17 if side < 128 else 2) for side in shares}
    return tuple(
        SizedBatch(size=side, batch_size=max(2, round(counts[side])), share=round(share, 2))
        for side, share in shares.items()
        if counts[side] >= 0.5 or side < size + multiple
    )


def collate(examples: list[Example]) -> Batch:
    """Join examples of one size and one kind of condition into a batch."""
    conditions = [() if example.condition is None else example.condition for example in examples]
    return (
        torch.from_numpy(np.stack([example.image for example in examples])),
        torch.tensor(conditions, dtype=torch.int64 if isinstance(conditions[0], int) else torch.uint8),
        torch.from_numpy(np.stack([example.target for example in examples])),
    )


def network_inputs(batch: Batch, config: ModelConfig) -> tuple[tuple[Tensor, ...], Tensor]:
    """Convert a batch to what the network computes with.

    Returns:
        The arguments of the network: image, float32 [B, 3, H, W] in [-1, 1], and the condition, if it has one: color,
        float32 [B, 3] in [-1, 1]; for a vocabulary the index of the nearest color, int64 [B]; or the index of the
        label, int64 [B]. And the target, float32 [B, 3, H, W] in [-1, 1].
    """
    image, condition, target = batch
    image, target = (
        x.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last) / 127.5 - 1 for x in (image, target)
    )
    if config.conditioning == "none":
        return (image,), target
    if config.conditioning == "label":
        return (image, condition), target
    if config.conditioning == "vocabulary":
        values = torch.tensor([rgb for _, rgb in config.palette], device=condition.device)
        return (image, (condition[:, None].long() - values).abs().sum(-1).argmin(-1)), target
    return (image, condition.to(torch.float32) / 127.5 - 1), target


def synthetic_batches(mix: tuple[SizedBatch, ...], config: DrawingsConfig) -> MakeBatch:
    """Return a maker of batches of generated drawings, each of one kind that is picked from ``mix`` by its share."""
    shares = np.array([kind.share for kind in mix])
    odds = shares / shares.sum()

    def make(rng: np.random.Generator) -> Batch:
        kind = mix[int(rng.choice(len(mix), p=odds))]
        return collate([example_of(draw(rng, kind.size, config)) for _ in range(kind.batch_size)])

    return make


def pair_batches(pairs: list[Example], batch_size: int, config: PairConfig) -> MakeBatch:
    """Return a maker of batches from the pairs of a data set, sampled with replacement and varied."""
    alphas = [_alpha(pair) for pair in pairs]

    def vary(rng: np.random.Generator, index: int) -> Example:
        pair, alpha = pairs[index], alphas[index]
        if alpha is not None and rng.random() < config.recolor:
            pair = _recolored(pair, alpha, random_color(rng, config.drawings))
        if rng.random() < config.shift:
            pair = _shifted(pair, rng)
        return _turned(pair, int(rng.integers(8)))

    def make(rng: np.random.Generator) -> Batch:
        return collate([vary(rng, int(index)) for index in rng.integers(len(pairs), size=batch_size)])

    return make


def is_fill(pair: Example) -> bool:
    """Return whether the condition of a pair is a color, and its target is that one flat color on white."""
    if not isinstance(pair.condition, tuple):
        return False
    return bool((pair.target == _WHITE).all()) or _coverage(pair.target, pair.condition) is not None


def _alpha(pair: Example) -> NDArray[np.float32] | None:
    """Return the coverage of a fill as ``_coverage`` does; None if its color is too light to tell it exactly."""
    if not isinstance(pair.condition, tuple) or min(pair.condition) > 127:
        return None
    return _coverage(pair.target, pair.condition)


def _coverage(target: NDArray[np.uint8], rgb: tuple[int, int, int]) -> NDArray[np.float32] | None:
    """Return the fill's coverage [H, W, 1], 0 to 1, if the target is one flat color on white; None if it is not."""
    color = np.array(rgb, dtype=np.float32)
    channel = int(color.argmin())
    if color[channel] == _WHITE:
        return None
    alpha = (255 - target[..., channel, None].astype(np.float32)) / (255 - color[channel])
    flat = np.abs(255 + (color - 255) * alpha - target).max() <= 2 and alpha.max() <= 1
    return alpha if flat else None


def _recolored(pair: Example, alpha: NDArray[np.float32], color: tuple[int, int, int]) -> Example:
    """Fill a pair with another color, by the fill's coverage [H, W, 1]."""
    target = np.rint(255 + (np.array(color, dtype=np.float32) - 255) * alpha).astype(np.uint8)
    return replace(pair, condition=color, target=target)


def _shifted(pair: Example, rng: np.random.Generator) -> Example:
    """Move a pair within the white borders that both images share, so that nothing is cut off."""
    image, target = pair.image, pair.target
    for axis in (0, 1):
        used = np.flatnonzero(((image != 255) | (target != 255)).any(axis=(1 - axis, 2)))
        if len(used):
            by = int(rng.integers(-used[0], image.shape[axis] - used[-1]))
            image, target = np.roll(image, by, axis=axis), np.roll(target, by, axis=axis)
    return replace(pair, image=image, target=target)


def _turned(pair: Example, symmetry: int) -> Example:
    """Apply one of the eight symmetries of the square, 0 to 7: quarter turns, from 4 on of the mirrored pair."""

    def turn(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        turned = np.rot90(pixels[:, ::-1] if symmetry >= 4 else pixels, symmetry % 4)
        return np.ascontiguousarray(turned)

    return replace(pair, image=turn(pair.image), target=turn(pair.target))


class BatchStream(IterableDataset[Batch]):
    """Endless stream of batches, of which every ``step``-th one is taken, from number ``start`` on.

    The worker processes of a data loader share the stream out among themselves, in its order.
    """

    def __init__(self, make: MakeBatch, *, seed: int, start: int = 0, step: int = 1) -> None:
        """Define the stream.

        Args:
            make: Makes one batch from a random generator, which is seeded with ``seed`` and the batch's number.
            seed: Seed of the stream.
            start: Number of the first batch.
            step: Distance between the numbers of two batches.
        """
        self.make = make
        self.seed = seed
        self.start = start
        self.step = step

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        number, count = (worker.id, worker.num_workers) if worker else (0, 1)
        for index in itertools.count(self.start + number * self.step, count * self.step):
            yield self.make(np.random.default_rng([self.seed, index]))
