"""A trace that holds at some sizes only is proven for these, where the user did not say which they are."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polyexport.errors import FrozenSizeError
from polyexport.export.proof.narrowing import proven_trace
from polyexport.export.proof.own_images import OwnImages
from polyexport.export.source.source import Source


class Padded(nn.Module):
    """Pads where height or width is odd, by a branch, as UNets for pictures of any size do."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, 4, 3, padding=1)
        self.leave = nn.Conv2d(7, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        deep = F.interpolate(F.max_pool2d(self.enter(image), 2), scale_factor=2.0)
        pad = [0, 0, 0, 0]
        for axis in (2, 3):
            if image.shape[axis] != deep.shape[axis]:
                pad[1 if axis == 3 else 3] = 1
        result: Tensor = self.leave(torch.cat([image, F.pad(deep, pad)], 1))
        return result


SOURCE = Source(
    module=Padded().eval(),
    size_multiple=1,
    smallest_size=2,
    training_size=30,
    network="test:Padded",
    sha256="0" * 64,
    sizes_found=True,
)


@pytest.mark.slow
def test_sizes_that_were_found_are_narrowed_to_those_of_the_trace() -> None:
    said: list[str] = []
    proof, stage = proven_trace(SOURCE, "color", OwnImages(), said.append)
    assert (proof.source.size_multiple, proof.source.smallest_size, proof.source.training_size) == (4, 1, 32)
    assert said == ["takes multiples of 4, after a trace of it failed elsewhere"]
    assert stage.max_abs_diff < 1e-5
    assert all(side % 4 == 0 for size in proof.reference.examples for side in size)


def test_sizes_that_the_user_said_are_not_narrowed() -> None:
    with pytest.raises(FrozenSizeError, match="and not at 3x2, the size that it was traced at"):
        proven_trace(replace(SOURCE, sizes_found=False), "color", OwnImages(), print)
