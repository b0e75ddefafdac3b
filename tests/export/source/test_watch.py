from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polyexport.export.source.watch import Watch


def watched(function: Callable[[Tensor], Tensor]) -> tuple[Watch, Tensor]:
    image = torch.randn(1, 4, 8, 8)
    with torch.no_grad(), Watch() as watch:
        result = function(image)
    return watch, result


@pytest.mark.parametrize(
    ("function", "bounds"),
    [
        (torch.tanh, (-1, 1)),
        (torch.sigmoid, (0, 1)),
        (lambda x: torch.tanh(x) / 2 + 0.5, (0, 1)),
        (lambda x: 1 - torch.sigmoid(x), (0, 1)),
        (lambda x: (torch.tanh(x) + 1) * 127.5, (0, 255)),
        (lambda x: x.clamp(0, 1), (0, 1)),
        (F.hardtanh, (-1, 1)),
        (lambda x: F.softmax(x, 1)[:, 1:], (0, 1)),
        (lambda x: F.interpolate(torch.sigmoid(x), scale_factor=2, mode="bilinear")[..., 1:].contiguous(), (0, 1)),
        (lambda x: torch.cat([torch.tanh(x), torch.sigmoid(x)], 1), (-1, 1)),
        (lambda x: x.clone().tanh_(), (-1, 1)),
        (F.relu, None),
        (lambda x: x + torch.tanh(x), None),
        (lambda x: torch.tanh(x) * x, None),
        (lambda x: torch.tanh(x).mul_(x), None),
        (lambda x: x.clamp(min=0), None),
    ],
)
def test_the_values_that_a_result_cannot_leave(
    function: Callable[[Tensor], Tensor], bounds: tuple[float, float] | None
) -> None:
    watch, result = watched(function)
    assert watch.bounds_of(result) == bounds


def test_calls_of_one_convolution_and_random_numbers() -> None:
    conv = nn.Conv2d(4, 4, 1)
    watch, _ = watched(lambda x: conv(conv(conv(x))))
    assert (watch.repeats, watch.random) == (3, False)
    watch, _ = watched(lambda x: conv(x) + torch.randn_like(x))
    assert (watch.repeats, watch.random) == (1, True)
