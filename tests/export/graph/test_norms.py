"""Normalizations and means are as precise as PyTorch's on pictures that are flat but for a line."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from polyexport.export.graph.half import half_graph
from polyexport.export.graph.many_colors import many_colors_graph
from polyexport.export.graph.norms import write_out_norms
from polyexport.export.graph.trace import simplify
from polyexport.export.precision import PRECISIONS
from polyexport.export.proof.own_images import OwnImages
from polyexport.export.proof.parity import ParityOptions
from polyexport.export.proof.proof import Proof
from polyexport.export.source.source import Source
from polyexport.model.conditions.fields import ColorFields

CHANNELS = 8
EPSILON = 1e-5
SCALE = np.linspace(0.5, 1.5, CHANNELS, dtype=np.float32)
BIAS = np.linspace(-1, 1, CHANNELS, dtype=np.float32)
_RNG = np.random.default_rng(7)


def picture(side: int, rank: int = 4) -> NDArray[np.float32]:
    """[1, CHANNELS, side, side] or, of rank 3, [1, CHANNELS, side * side]: near 0.7, with a line a little off."""
    flat = 0.7 + _RNG.normal(0, 0.2, (1, CHANNELS, 1, 1)) + _RNG.normal(0, 1e-3, (1, CHANNELS, side, side))
    flat[:, :, side // 4, side // 4 :] += 0.5
    return flat.astype(np.float32).reshape(1, CHANNELS, *([side] * 2 if rank == 4 else [side * side]))


def normalized(values: NDArray[Any], axes: Sequence[int]) -> NDArray[np.float64]:
    exact = values.astype(np.float64)
    mean, variance = exact.mean(tuple(axes), keepdims=True), exact.var(tuple(axes), keepdims=True)
    return np.asarray((exact - mean) / np.sqrt(variance + EPSILON))


def channels(values: NDArray[Any], groups: int) -> NDArray[np.float64]:
    """The true normalization of groups of channels, with SCALE and BIAS."""
    unit = normalized(values.reshape(len(values), groups, -1), [2]).reshape(values.shape)
    column = (-1, *[1] * (values.ndim - 2))
    return unit * SCALE.astype(np.float64).reshape(column) + BIAS.astype(np.float64).reshape(column)


def model_of(shape: Sequence[int], op: str, *constants: NDArray[Any], **attributes: Any) -> onnx.ModelProto:
    """x -> y, one node; the shape's extents from the third axis on are dynamic if it is the shape of a picture."""
    names = [f"constant{number}" for number in range(len(constants))]
    extents: list[Any] = ["batch", *shape[1:2], *["side"] * (len(shape) - 2)]
    graph = helper.make_graph(
        [helper.make_node(op, ["x", *names], ["y"], "node", **attributes)],
        "norm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, extents)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(constant, name) for constant, name in zip(constants, names, strict=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    if op.endswith("Normalization"):  # of which the inference knows little
        model.graph.output[0].type.CopyFrom(model.graph.input[0].type)
    return model


def run(model: onnx.ModelProto, x: NDArray[np.float32]) -> NDArray[np.float32]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (y,) = session.run(["y"], {"x": x})
    return np.asarray(y)


def precise(model: onnx.ModelProto) -> onnx.ModelProto:
    """As an export has it: written out, and simplified, which must not undo it."""
    return simplify(write_out_norms(model))


@pytest.mark.parametrize("groups", [1, 2, CHANNELS])
def test_group_norm_is_precise(groups: int) -> None:
    x = picture(128)
    model = model_of(x.shape, "GroupNormalization", SCALE, BIAS, num_groups=groups, epsilon=EPSILON)
    true = channels(x, groups)
    fused, written_out = (float(np.max(np.abs(run(one, x) - true))) for one in (model, precise(model)))
    assert written_out < 1e-5
    assert fused > 5 * written_out  # otherwise the rewrite would not be needed


@pytest.mark.parametrize("rank", [3, 4])
def test_instance_norm_is_precise(rank: int) -> None:
    x = picture(128, rank)
    model = model_of(x.shape, "InstanceNormalization", SCALE, BIAS, epsilon=EPSILON)
    assert np.max(np.abs(run(precise(model), x) - channels(x, CHANNELS))) < 3e-5


def test_a_large_mean_beside_a_small_deviation_is_precise() -> None:
    x = (1e3 + 1e-3 * _RNG.normal(0, 1, (2, CHANNELS, 64, 64))).astype(np.float32)
    model = model_of(x.shape, "InstanceNormalization", SCALE, BIAS, epsilon=EPSILON)
    assert np.max(np.abs(run(model, x) - channels(x, CHANNELS))) > 1e-4
    assert np.max(np.abs(run(precise(model), x) - channels(x, CHANNELS))) < 1e-5


@pytest.mark.parametrize("bias", [True, False])
def test_layer_norm_over_a_picture_is_precise(bias: bool) -> None:
    x = picture(64)
    weights = [_RNG.random(x.shape[1:], dtype=np.float32) for _ in range(1 + bias)]
    model = model_of(x.shape, "LayerNormalization", *weights, axis=-3, epsilon=EPSILON)
    true = normalized(x, [1, 2, 3]) * weights[0] + (weights[1] if bias else 0)
    assert np.max(np.abs(run(precise(model), x) - true)) < 1e-5


def test_layer_norm_over_the_channels_alone_stays_one_node() -> None:
    model = model_of((1, 4, 4, CHANNELS), "LayerNormalization", SCALE, BIAS, axis=-1)
    assert [node.op_type for node in write_out_norms(model).graph.node] == ["LayerNormalization"]


@pytest.mark.parametrize("axes", [[2, 3], [-1, -2], [1, 2], [0, 1, 2, 3], [1, 3], [3]])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("op", ["ReduceMean", "ReduceSum"])
def test_means_and_sums_keep_value_and_shape(op: str, axes: list[int], keepdims: int) -> None:
    x = picture(16)
    model = model_of(x.shape, op, np.array(axes), keepdims=keepdims)
    true = getattr(np, op.removeprefix("Reduce").lower())(x.astype(np.float64), tuple(axes), keepdims=bool(keepdims))
    found = run(precise(model), x)
    assert found.shape == true.shape
    np.testing.assert_allclose(found, true, rtol=1e-5)


def test_a_global_average_pool_is_precise() -> None:
    x = picture(512)[:, :1]
    model = model_of((1, 1, 512, 512), "GlobalAveragePool")
    true = x.astype(np.float64).mean((2, 3), keepdims=True)
    assert np.max(np.abs(run(model, x) / true - 1)) > 1e-5
    assert np.max(np.abs(run(precise(model), x) / true - 1)) < 1e-6


def test_openvino_does_not_merge_the_stages() -> None:
    openvino = pytest.importorskip("openvino")
    x = picture(256)
    model = precise(model_of(x.shape, "InstanceNormalization", SCALE, BIAS, epsilon=EPSILON))
    core = openvino.Core()
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", hint)
    assert np.max(np.abs(compiled({"x": x})[0] - channels(x, CHANNELS))) < 3e-5


class Normed(nn.Module):
    """A norm of each kind, after a convolution of its own and before an activation."""

    def __init__(self, *, tracked: bool) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(6 if n == 0 else 8, 8, 3, padding=1) for n in range(4))
        self.group = nn.GroupNorm(2, 8)
        self.plain = nn.InstanceNorm2d(8)
        self.tracked = nn.InstanceNorm2d(8, affine=True, track_running_stats=tracked)
        self.layer = nn.LayerNorm(8)
        self.leave = nn.Conv2d(8, 3, 1)

    def forward(self, image: Tensor, color: Tensor) -> Tensor:
        plane = color[:, :, None, None].expand(-1, -1, *image.shape[2:])
        x = F.silu(self.group(self.convolutions[0](torch.cat([image, plane], dim=1))))
        x = F.relu(self.plain(self.convolutions[1](x)))
        x = self.tracked(self.convolutions[2](x)) * x
        x = self.convolutions[3](x)
        x = F.gelu(self.layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True, correction=0)
        return torch.tanh(self.leave((x - mean) / (variance + 1e-5).sqrt()))


@pytest.mark.parametrize(
    ("sizes", "multiple"), [([(64, 64), (48, 128)], 4), pytest.param([(256, 256)], 256, marks=pytest.mark.slow)]
)
def test_a_network_of_norms_passes_the_proof(sizes: list[tuple[int, int]], multiple: int) -> None:
    torch.manual_seed(0)
    source = Source(
        module=Normed(tracked=multiple == 256).eval(),
        conditions=(ColorFields(conditioning="rgb"),),
        size_multiple=multiple,
        training_size=256,
        fixed_size=multiple == 256,
        network="test:Normed",
        sha256="0" * 64,
    )
    white = np.full((256, 256, 3), 255, np.uint8)
    white[60:200, 100:102] = 0
    proof = Proof.of(source, parity=ParityOptions(batches=(1, 2), sizes=tuple(sizes)), own=OwnImages(images=(white,)))
    proof.check(proof.candidate("raw", proof.traced.model))
    graph = simplify(proof.traced.model)
    proof.check(proof.candidate("simplified", graph))
    if multiple < 256:
        proof.check(proof.candidate("palette", many_colors_graph(graph), many_colors=True))
        proof.check(proof.candidate("fp16", half_graph(graph)), PRECISIONS["fp16"])
