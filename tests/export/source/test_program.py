"""Programs of torch.export: trusted or not, with free and with fixed extents."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from polyexport.errors import CheckpointError, UsageError
from polyexport.export.export import export_source
from polyexport.export.source.load import load_source
from polyexport.model.conditions.fields import ImageFields
from polyexport.model.model import Model

DIM = torch.export.Dim


class Twice(nn.Module):
    """Twice the size, of multiples of four."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 6, 4, stride=4)
        self.up = nn.ConvTranspose2d(6, 3, 8, stride=8)

    def forward(self, image: Tensor) -> Tensor:
        return torch.sigmoid(self.up(self.down(image)))


class Masked(nn.Module):
    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        return image * mask


def saved(module: nn.Module, inputs: tuple[Tensor, ...], shapes: Any, path: Path) -> Path:
    torch.export.save(torch.export.export(module.eval(), inputs, dynamic_shapes=shapes), path)
    return path


@pytest.fixture
def free(tmp_path: Path) -> Path:
    shapes = {"image": {0: DIM("n"), 2: 4 * DIM("h", min=2), 3: 4 * DIM("w", min=2)}}
    torch.manual_seed(0)
    return saved(Twice(), (torch.rand(2, 3, 8, 12),), shapes, tmp_path / "free.pt2")


def test_a_program_with_free_extents_goes_to_pictures(free: Path, tmp_path: Path) -> None:
    source = load_source(free, trust_program=True, value_range=(0.0, 1.0), size=32)
    export_source(source, tmp_path / "m.onnx")
    model = Model.from_bytes((tmp_path / "m.onnx").read_bytes())
    image = np.random.default_rng(0).integers(0, 256, (20, 16, 3), dtype=np.uint8)
    (picture,) = model.apply([image], {})
    with torch.inference_mode():
        wanted = source.module(torch.from_numpy(image).permute(2, 0, 1)[None] / 255)[0].permute(1, 2, 0)

    assert (source.size_multiple, source.smallest_size, source.batch_one, source.fixed_size) == (4, 8, False, False)
    assert (source.network, source.result.scale) == ("free.pt2", "2")
    assert np.abs(picture - wanted.mul(255).round().numpy()).max() <= 1
    assert not model.contract.batch_one


def test_what_the_program_fixed_stays_fixed(tmp_path: Path) -> None:
    path = saved(Twice(), (torch.rand(1, 3, 16, 24),), None, tmp_path / "p.pt2")
    source = load_source(path, trust_program=True, value_range=(-1.0, 1.0))
    assert source.fixed_shape == (16, 24)
    assert source.batch_one


def test_a_second_picture_is_a_condition(tmp_path: Path) -> None:
    inputs = (torch.rand(1, 3, 16, 16), torch.rand(1, 1, 16, 16))
    source = load_source(saved(Masked(), inputs, None, tmp_path / "p.pt2"), trust_program=True, value_range=(0.0, 1.0))
    assert source.conditions == (ImageFields(name="mask", channels=1),)


def test_a_program_is_read_only_where_it_is_trusted(free: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"can run any code.*--trust-program"):
        load_source(free, value_range=(0.0, 1.0))
    with pytest.raises(UsageError, match="--value-range"):
        load_source(free, trust_program=True)
    with pytest.raises(UsageError, match="weights_key does not go with a program"):
        load_source(free, trust_program=True, weights_key="ema")
    (tmp_path / "torn.pt2").write_bytes(free.read_bytes()[:500])
    for name in ("torn.pt2", "missing.pt2"):
        with pytest.raises(CheckpointError) as raised:
            load_source(tmp_path / name, trust_program=True, value_range=(0.0, 1.0))
        assert "\n" not in str(raised.value)


class Counted(nn.Module):
    def forward(self, image: Tensor, level: Tensor) -> Tensor:
        return image * level[:, None, None, None]


class Flat(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return image.mean((2, 3))


@pytest.mark.parametrize(
    ("module", "inputs", "message"),
    [
        (Counted(), (torch.rand(1, 3, 8, 8), torch.rand(1)), "takes level as float32"),
        (Flat(), (torch.rand(1, 3, 8, 8),), r"makes float32 \[1, 3\], expected a float32 image"),
        (nn.Conv2d(2, 3, 1), (torch.rand(1, 2, 8, 8),), r"takes \[1, 2, 8, 8\]"),
        (nn.Conv2d(3, 3, 1), (torch.rand(4, 3, 8, 8),), r"takes \[4, 3, 8, 8\]"),
        (nn.Conv2d(3, 2, 1), (torch.rand(1, 3, 8, 8),), "expected an image of 1, 3 or 4 channels"),
        (nn.Conv2d(3, 3, 3), (torch.rand(1, 3, 8, 8),), "at one of the scales"),
    ],
)
def test_what_is_no_network_of_images_is_refused(
    module: nn.Module, inputs: tuple[Tensor, ...], message: str, tmp_path: Path
) -> None:
    path = saved(module, inputs, None, tmp_path / "p.pt2")
    with pytest.raises(CheckpointError, match=message):
        load_source(path, trust_program=True, value_range=(0.0, 1.0))
