"""Schedules of a training: the learning rate, and the averaging of the weights."""

import math

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

__all__ = ["averaged_model", "cosine_factor"]

_WARM_UP_FRACTION = 0.03
"""Fraction of the training in which the learning rate rises linearly."""

_FIRST_FACTOR = 1e-3
"""Learning rate of the first steps, relative to its peak."""

_FINAL_FACTOR = 0.01
"""Learning rate at the end of the training, relative to its peak."""


def cosine_factor(done: float) -> float:
    """Return the learning rate relative to its peak: a linear warm-up, then half a cosine.

    Args:
        done: Fraction of the training that is done, 0 to 1.
    """
    if done < _WARM_UP_FRACTION:
        return max(done / _WARM_UP_FRACTION, _FIRST_FACTOR)
    cosine = 0.5 * (1 + math.cos(math.pi * (done - _WARM_UP_FRACTION) / (1 - _WARM_UP_FRACTION)))
    return _FINAL_FACTOR + (1 - _FINAL_FACTOR) * cosine


def averaged_model(model: nn.Module, decay: float) -> AveragedModel:
    """Return an exponential moving average of a model's weights and buffers.

    The decay grows from 0.1 to ``decay``, so that the random start has little weight in a short training.
    """

    def average(averaged: Tensor, current: Tensor, num_averaged: Tensor | int) -> Tensor:
        if not averaged.is_floating_point():
            return current
        count = float(num_averaged)
        return averaged + (1 - min(decay, (1 + count) / (10 + count))) * (current - averaged)

    return AveragedModel(model, avg_fn=average, use_buffers=True)
