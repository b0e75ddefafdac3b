"""A planted fault is found where it was planted, however small it is beside what follows from it."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from polyexport.export.graph import trace as tracing
from polyexport.export.graph.trace import simplify
from polyexport.export.proof.cause import Cause, program_values
from polyexport.export.proof.local_cause import find_local_cause, layer_of
from polyexport.export.proof.parity import ParityOptions
from polyexport.export.proof.proof import Proof
from polyexport.export.source.source import Source
from polyexport.model.conditions.fields import ColorFields


class Block(nn.Module):
    def __init__(self, channels: int, norm: nn.Module) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(channels, 8, 3, padding=1), norm

    def forward(self, features: Tensor) -> Tensor:
        return F.silu(self.norm(self.convolution(features)))


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(6, nn.GroupNorm(2, 8)), Block(8, nn.InstanceNorm2d(8)))
        self.leave = nn.Conv2d(8, 3, 1)

    def forward(self, image: Tensor, color: Tensor) -> Tensor:
        plane = color[:, :, None, None].expand(-1, -1, image.shape[2], image.shape[3])
        return torch.tanh(self.leave(self.blocks(torch.cat([image, plane], dim=1))))


def proof_of() -> Proof:
    torch.manual_seed(0)
    source = Source(
        module=Normed().eval(),
        conditions=(ColorFields(conditioning="rgb"),),
        size_multiple=128,
        training_size=128,
        fixed_size=True,
        network="test:Normed",
        sha256="0" * 64,
    )
    return Proof.of(source, parity=ParityOptions(images=1, batches=(1,)))


@pytest.fixture(scope="module")
def proof() -> Proof:
    return proof_of()


@pytest.fixture(scope="module")
def graph(proof: Proof) -> onnx.ModelProto:
    return simplify(proof.traced.model)


def cause(proof: Proof, model: onnx.ModelProto) -> Cause | None:
    image = np.full((1, 128, 128, 3), 255, np.uint8)
    image[:, 30:100, 40] = 0  # a line on white
    candidate = proof.candidate("simplified", model)
    feeds = candidate.feeds(image, [np.array([[255, 0, 0]], np.uint8)])
    values = program_values(proof.traced.program, candidate.output, *feeds.values())
    return find_local_cause(candidate, proof.traced.program, values, feeds)


def planted(
    model: onnx.ModelProto, tensor: str, change: Callable[[NDArray[np.float32]], NDArray[np.float32]], place: int = 1
) -> onnx.ModelProto:
    """A copy of a graph with another constant at one input of the node that makes a tensor."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    (node,) = [node for node in changed.graph.node if tensor in node.output]
    (constant,) = [each for each in changed.graph.initializer if each.name == node.input[place]]
    own = numpy_helper.from_array(np.asarray(change(numpy_helper.to_array(constant)), np.float32), "planted")
    changed.graph.initializer.append(own)
    node.input[place] = "planted"
    return changed


def test_sound_graphs_have_no_cause(proof: Proof, graph: onnx.ModelProto) -> None:
    assert cause(proof, proof.traced.model) is None
    assert cause(proof, graph) is None


@pytest.mark.parametrize(
    ("tensor", "layer"),
    [("conv2d", "blocks.0.convolution"), ("conv2d_1", "blocks.1.convolution"), ("conv2d_2", "leave")],
)
def test_one_weight_that_is_off_by_a_thousandth_is_found(
    proof: Proof, graph: onnx.ModelProto, tensor: str, layer: str
) -> None:
    def change(weight: NDArray[np.float32]) -> NDArray[np.float32]:
        weight = weight.copy()
        weight[np.unravel_index(np.argmax(np.abs(weight)), weight.shape)] *= 1.001
        return weight

    found = cause(proof, planted(graph, tensor, change))
    assert found is not None
    assert (found.operator, found.tensor, found.layer) == ("Conv", tensor, layer)


def test_another_epsilon_is_found_in_its_norm(proof: Proof, graph: onnx.ModelProto) -> None:
    changed = planted(graph, "instance_norm_raised", lambda epsilon: epsilon * np.float32(1.5))
    found = cause(proof, changed)
    assert found is not None
    assert (found.tensor, found.layer) == ("instance_norm", "blocks.1.norm")


def test_a_shift_of_a_ten_thousandth_is_found_before_its_followers(proof: Proof, graph: onnx.ModelProto) -> None:
    found = cause(proof, planted(graph, "conv2d_1", lambda bias: bias + np.float32(1e-4), place=2))
    assert found is not None
    assert found.tensor == "conv2d_1"


def test_a_node_that_fails_is_named(proof: Proof, graph: onnx.ModelProto) -> None:
    found = cause(proof, planted(graph, "conv2d_1", lambda bias: bias[:3], place=2))
    assert found is not None
    assert found.tensor == "conv2d_1"


@pytest.mark.parametrize(
    ("stack", "layer"),
    [
        ([("", "polyexport.export.graph.trace._UInt8Wrapper"), ("module", "test.Net")], ""),
        ([("module", "test.Net"), ("module.body.0", "torch.nn.Conv2d")], "body.0"),
        (
            [
                ("module", "polyexport.export.source.adapter.Adapter"),
                ("module.network", "test.Net"),
                ("module.network.body.0", "torch.nn.Conv2d"),
            ],
            "body.0",
        ),
        ([("module", "polyexport.export.source.adapter.Adapter")], ""),
        ([], ""),
    ],
)
def test_what_is_put_around_a_network_is_no_part_of_a_layers_name(stack: list[tuple[str, str]], layer: str) -> None:
    graph = torch.fx.Graph()
    graph.placeholder("conv2d").meta["nn_module_stack"] = {str(number): each for number, each in enumerate(stack)}
    program: Any = SimpleNamespace(graph=graph)
    assert layer_of(program, "conv2d") == layer
    assert layer_of(program, "other") == ""


def test_an_imprecise_kernel_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime's own GroupNormalization, on a white drawing: the activation after it was blamed, or nothing."""
    monkeypatch.setattr(tracing, "write_out_norms", lambda model: model)
    proof = proof_of()
    found = cause(proof, simplify(proof.traced.model))
    assert found is not None
    assert (found.operator, found.tensor, found.layer) == ("GroupNormalization", "group_norm", "blocks.0.norm")
    assert "PyTorch's float32 by" in str(found)
