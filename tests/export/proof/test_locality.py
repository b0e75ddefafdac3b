"""Networks that are local and networks that are not: what an export finds out about them, and what tiles then give."""

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polyexport.export.export import export_source
from polyexport.export.graph.trace import simplify
from polyexport.export.proof import locality as search
from polyexport.export.proof.locality import find_locality
from polyexport.export.proof.parity import Candidate
from polyexport.export.proof.proof import Proof
from polyexport.export.source.source import UNIT, Source
from polyexport.model.conditions.fields import ConditionFields, ImageFields, NumberFields
from polyexport.model.loading.load import load_model
from polyexport.model.locality import Locality
from polyexport.model.result import ResultFields
from polyexport.model.settings import NO_SETTING
from polyexport.model.tile_wish import TileWish


def conv(inner: int, outer: int, kernel: int = 3, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inner, outer, kernel, padding=kernel // 2 * dilation, dilation=dilation)


class Plain(nn.Module):
    """Two convolutions, one of them dilated: 1 and 4 pixels away."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(3, 4), nn.ReLU(), conv(4, 3, dilation=4), nn.Sigmoid())

    def forward(self, image: Tensor) -> Tensor:
        return self.body(image)  # type: ignore[no-any-return]


class Pixelwise(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return 1 - image * image


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = conv(3, 4), conv(4, 8), conv(12, 4), conv(4, 3)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, image: Tensor) -> Tensor:
        skip = F.leaky_relu(self.a(image))
        deep = F.relu(self.norm(self.b(F.max_pool2d(skip, 4))))
        up = F.interpolate(deep, scale_factor=4, mode="bilinear")
        return torch.sigmoid(self.d(F.relu(self.c(torch.cat([up, skip], 1)))))


class Double(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(3, 8), nn.PReLU(8), conv(8, 12), nn.PixelShuffle(2))

    def forward(self, image: Tensor) -> Tensor:
        return self.body(image) + F.interpolate(image, scale_factor=2, mode="nearest")  # type: ignore[no-any-return]


class Half(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.PixelUnshuffle(2), conv(12, 3), nn.Sigmoid())

    def forward(self, image: Tensor) -> Tensor:
        return self.body(image)  # type: ignore[no-any-return]


class Windows(nn.Module):
    """Attention within windows of 4x4, which begin at multiples of 4."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.enter(image)
        batch, channels, height, width = x.shape
        w = x.reshape(batch, channels, height // 4, 4, width // 4, 4).permute(0, 2, 4, 3, 5, 1)
        w = w.reshape(-1, 16, channels)
        w = torch.softmax(w @ w.transpose(1, 2), -1) @ w
        w = w.reshape(batch, height // 4, width // 4, 4, 4, channels).permute(0, 5, 1, 3, 2, 4)
        return torch.sigmoid(self.leave(w.reshape(batch, channels, height, width)))


class Masked(nn.Module):
    """The mask reaches further than the image."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.mask = conv(3, 3), conv(1, 3, 7)

    def forward(self, image: Tensor, strength: Tensor, mask: Tensor) -> Tensor:
        return torch.sigmoid(self.image(image) + strength[:, None, None, None] * self.mask(mask))


class InstanceNormalized(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(3, 4), nn.InstanceNorm2d(4, affine=True), nn.ReLU(), conv(4, 3), nn.Sigmoid())

    def forward(self, image: Tensor) -> Tensor:
        return self.body(image)  # type: ignore[no-any-return]


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = conv(3, 4), conv(4, 3)

    def forward(self, image: Tensor) -> Tensor:
        x = self.enter(image)
        small = F.avg_pool2d(x, 4)
        flat = small.flatten(2)
        mixed = (torch.softmax(flat.transpose(1, 2) @ flat, -1) @ flat.transpose(1, 2)).transpose(1, 2)
        return torch.sigmoid(self.leave(x + F.interpolate(mixed.reshape(small.shape), scale_factor=4)))


class Squeezed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter, self.gate = conv(3, 3), nn.Conv2d(3, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.enter(image)
        return torch.sigmoid(x * torch.sigmoid(self.gate(F.adaptive_avg_pool2d(x, 1))))


class Rolled(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return 1 - torch.roll(image, (2, 2), (2, 3))


class Placed(nn.Module):
    """Each pixel knows how far it is across the image."""

    def forward(self, image: Tensor) -> Tensor:
        width = image.shape[3]
        return image * (torch.arange(width, device=image.device) / width)[None, None, None]


class CornersAligned(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        small = F.avg_pool2d(image, 4)
        return F.interpolate(small, scale_factor=4, mode="bilinear", align_corners=True)


LOCAL: dict[type[nn.Module], tuple[int, int, str]] = {
    Plain: (1, 5, "1"),
    Pixelwise: (1, 0, "1"),
    UNet: (4, 12, "1"),
    Double: (1, 2, "2"),
    Half: (2, 2, "1/2"),
    Windows: (4, 0, "1"),  # what lies behind an aligned cut changes nothing before it
}
"""Multiple, reach and scale of local networks."""

GLOBAL: dict[type[nn.Module], tuple[int, str]] = {
    InstanceNormalized: (1, "Reduce"),
    Attention: (4, "Softmax"),
    Squeezed: (1, "Reduce"),
    Rolled: (1, "Concat"),
    Placed: (1, ""),
    CornersAligned: (4, "Resize"),
}
"""Multiple of global networks, and what names the node that makes them so."""


def source_of(network: type[nn.Module], multiple: int, scale: str = "1", *conditions: ConditionFields) -> Source:
    torch.manual_seed(0)
    return Source(
        module=network().eval(),
        conditions=conditions,
        value_range=UNIT,
        output_range=UNIT,
        result=ResultFields(scale=scale),
        size_multiple=multiple,
        smallest_size=2,
        training_size=32,
        network=f"test:{network.__name__}",
        sha256="0" * 64,
    )


def candidate_of(source: Source) -> Candidate:
    proof = Proof.of(source)
    return proof.candidate("simplified", simplify(proof.traced.model))


def some_slow(networks: Iterable[type[nn.Module]], *fast: type[nn.Module]) -> list[Any]:
    return [pytest.param(one, marks=[] if one in fast else pytest.mark.slow) for one in networks]


@pytest.mark.parametrize("network", some_slow(LOCAL, Double, Windows))
def test_a_local_network_is_found(network: type[nn.Module]) -> None:
    multiple, reach, scale = LOCAL[network]
    source = source_of(network, multiple, scale)
    found = find_locality(source, candidate_of(source))
    assert found is not None
    assert (found.kind, found.reach, found.nodes) == ("local", reach, ())
    assert found.tiled_max_diff <= 1
    assert found.tiled_values >= 10_000 * Fraction(scale) ** 2
    assert found.bytes_per_pixel > 0
    field = 2 * reach + 1
    assert f"depends on {field}x{field} pixels" in found.describe()


@pytest.mark.parametrize("network", some_slow(GLOBAL, InstanceNormalized, Attention))
def test_a_global_network_is_told_apart_by_a_node(network: type[nn.Module]) -> None:
    multiple, name = GLOBAL[network]
    source = source_of(network, multiple)
    found = find_locality(source, candidate_of(source))
    assert found is not None
    assert (found.kind, found.reach, found.tiled_max_diff, found.tiled_values) == ("global", 0, 0, 0)
    assert not name or any(name in node for node in found.nodes), found.nodes
    assert "may depend on the whole image" in found.describe()


def test_second_pictures_count() -> None:
    conditions = (NumberFields(name="strength", minimum=0.0, maximum=1.0), ImageFields(name="mask", channels=1))
    source = source_of(Masked, 1, "1", *conditions)
    found = find_locality(source, candidate_of(source))
    assert found is not None
    assert (found.kind, found.reach) == ("local", 3)


def test_a_network_of_one_size_has_no_tiles() -> None:
    source = source_of(Plain, 32)
    fixed = replace(source, fixed_size=True)
    assert find_locality(fixed, candidate_of(fixed)) is None


@pytest.mark.parametrize("short", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_a_reach_that_is_too_short_is_not_believed(short: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The structure is held against what the graph computes."""
    source = source_of(Plain, 1)
    candidate = candidate_of(source)
    real = search._Search.reach

    def shortened(self: search._Search, axis: int, *, behind: bool) -> search._Reach:
        found = real(self, axis, behind=behind)
        assert found.reach is not None
        return search._Reach(found.reach - short, (), found.bytes_per_pixel)

    monkeypatch.setattr(search._Search, "reach", shortened)
    found = find_locality(source, candidate)
    assert found is not None
    assert found.kind == "global"


def test_tiles_that_differ_make_a_network_global(monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(Plain, 1)
    candidate = candidate_of(source)
    monkeypatch.setattr(search._Search, "changes_beyond", lambda *_, **__: False)
    real = search._Search.reach
    monkeypatch.setattr(
        search._Search,
        "reach",
        lambda self, axis, *, behind: search._Reach(0, (), real(self, axis, behind=behind).bytes_per_pixel),
    )
    found = find_locality(source, candidate)
    assert found is not None
    assert found.kind == "global"


def test_a_graph_that_cannot_be_followed_is_global() -> None:
    source = source_of(Plain, 1)
    candidate = candidate_of(source)
    changed = onnx.ModelProto()
    changed.CopyFrom(candidate.model)
    relu = next(node for node in changed.graph.node if node.op_type == "Relu")
    relu.op_type, relu.domain, relu.name = "Strange", "somewhere", "strange"
    found = find_locality(source, replace(candidate, model=changed))
    assert found is not None
    assert (found.kind, found.nodes) == ("global", ("Strange strange",))


@pytest.mark.parametrize("network", some_slow([Plain, Double, Half], Double))
def test_the_locality_is_in_the_file_and_tiles_give_the_whole(
    network: type[nn.Module], tmp_path: Path, rng: np.random.Generator
) -> None:
    multiple, reach, scale = LOCAL[network]
    lines: list[str] = []
    exported = export_source(source_of(network, multiple, scale), tmp_path / "m.onnx", report=lines.append)
    model = load_model(tmp_path / "m.onnx", provider="cpu")
    assert isinstance(model.contract.locality, Locality)
    assert model.contract.locality == exported.locality
    assert model.contract.locality.reach == reach
    assert f"locality: {model.contract.locality.describe()}" in lines

    image = rng.integers(0, 256, (101, 134, 3), dtype=np.uint8)
    [whole] = model.apply([image])
    for tile in (32, 48):
        rule = model.contract.canvas_rule("native", tiles=TileWish(tile=tile))
        canvas = rule.place(image)
        assert canvas.tiles is not None
        [output] = model.run_canvases([canvas], [NO_SETTING])
        assert np.array_equal(model.finish(canvas, output, NO_SETTING), whole)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
