"""Counts by hand, on graphs small enough for it, and beside PyTorch's own."""

import base64
import hashlib
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from contracts import color_contract, color_golden
from onnx import NodeProto, TensorProto, helper, numpy_helper

from polyexport.errors import ContractError, ExitCode, PolyexportError
from polyexport.imaging.codecs.png import encode_png
from polyexport.model.certificate import Parity, StageParity
from polyexport.model.conditions.color_condition import COLOR_INPUT
from polyexport.model.contract import COLORED, IMAGE_INPUT, METADATA_KEY
from polyexport.model.inspect import GraphFacts, Tensor, inspect_graph, inspect_model
from polyexport.runtime.onnx_bytes import graph_sha256
from polyexport.runtime.open import open_session
from polyexport.runtime.session import SessionOptions

SIZE = 8
STAGE = StageParity(name="raw", nodes=1, max_abs_diff=0.0, uint8_max_diff=0, uint8_equal=1.0, psnr_db=100.0, values=1)
PARITY = Parity(reference="a", candidate="b", stages=(STAGE,), images=1, colors=1, batches=(1,), sizes=((SIZE, SIZE),))

Node = tuple[str, Sequence[str], str] | tuple[str, Sequence[str], str, dict[str, Any]]


def value(name: str, kind: int, *shape: str | int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def graph(nodes: Sequence[Node], stored: dict[str, np.ndarray], *, many_colors: bool = False) -> onnx.ModelProto:
    """A graph with the contract's inputs and output for rgb conditioning."""
    colors = ["colors"] if many_colors else []
    made: list[NodeProto] = []
    for operator, inputs, output, *attributes in nodes:
        domain, _, kind = operator.rpartition(":")
        made.append(
            helper.make_node(kind, list(inputs), [output], domain=domain, **(attributes[0] if attributes else {}))
        )
    return helper.make_model(
        helper.make_graph(
            made,
            "handmade",
            [
                value(IMAGE_INPUT, TensorProto.UINT8, "batch", "height", "width", 3),
                value(COLOR_INPUT, TensorProto.UINT8, "batch", *colors, 3),
            ],
            [value(COLORED, TensorProto.UINT8, "batch", *colors, "height", "width", 3)],
            [numpy_helper.from_array(array, name) for name, array in stored.items()],
        ),
        opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)],
        ir_version=10,
    )


def write(model: onnx.ModelProto, folder: Path, **changes: Any) -> Path:
    """With a contract that is true of it."""
    data = model.SerializeToString()
    image = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 3), dtype=np.uint8)
    color = np.array([1, 2, 3], np.uint8).reshape((1, 1, 3) if changes.get("many_colors") else (1, 3))
    colored = open_session(data, SessionOptions(provider="cpu")).run(COLORED, {IMAGE_INPUT: image, COLOR_INPUT: color})
    pngs = [base64.b64encode(encode_png(pixels.reshape(SIZE, SIZE, 3))).decode() for pixels in (image, colored)]
    promised: dict[str, Any] = {
        "conditioning": "rgb",
        "size_multiple": 2,
        "training_size": SIZE,
        "opset": 21,
        "network": "handmade",
        "checkpoint_sha256": "0" * 64,
        "graph_sha256": graph_sha256(data),
        "parity": PARITY,
        "golden": color_golden(image_png=pngs[0], color=(1, 2, 3), colored_png=pngs[1]),
    }
    contract = color_contract(**promised | changes)
    helper.set_model_props(model, {METADATA_KEY: contract.to_json()})
    path = folder / "handmade.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def counted(path: Path) -> GraphFacts:
    """What ``inspect_model`` counts, without a process of its own."""
    return inspect_graph(path.read_bytes())


def weights(*shape: int, kind: type = np.float32) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.int64).reshape(shape).astype(kind) % 5


FROM_LEVELS: list[Node] = [
    ("Transpose", [IMAGE_INPUT], "planes", {"perm": [0, 3, 1, 2]}),
    ("Cast", ["planes"], "x", {"to": TensorProto.FLOAT}),
    ("Cast", [COLOR_INPUT], "c", {"to": TensorProto.FLOAT}),
]
TO_LEVELS: list[Node] = [
    ("QuantizeLinear", ["y", "unit", "zero"], "levels"),
    ("Transpose", ["levels"], COLORED, {"perm": [0, 2, 3, 1]}),
]
LEVELS: dict[str, np.ndarray] = {"unit": np.array(1, np.float32), "zero": np.array(0, np.uint8)}


def dense() -> onnx.ModelProto:
    """One node of every sort that is counted, with int8 weights among them and tensors that are not parameters."""
    nodes: list[Node] = [
        *FROM_LEVELS,
        ("Conv", ["x", "conv.w", "conv.b"], "down", {"group": 3, "strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ("Gemm", ["c", "gemm.w", "gemm.b"], "hidden", {"transB": 1}),
        ("DequantizeLinear", ["matmul.q", "matmul.scale", "matmul.zero"], "matmul.w", {"axis": 1}),
        ("MatMul", ["hidden", "matmul.w"], "embedding"),
        ("Unsqueeze", ["embedding", "axes"], "map"),
        ("Add", ["down", "map"], "mixed"),
        ("ConvTranspose", ["mixed", "up.w"], "up", {"strides": [2, 2]}),
        ("Resize", ["up", "", "factors"], "same"),
        ("Constant", [], "gain", {"value": numpy_helper.from_array(weights(1, 3, 1, 1))}),
        ("Mul", ["same", "gain"], "y"),
        *TO_LEVELS,
    ]
    stored = LEVELS | {
        "conv.w": weights(6, 1, 3, 3),
        "conv.b": weights(6),
        "gemm.w": weights(6, 3),
        "gemm.b": weights(6),
        "matmul.q": weights(6, 6, kind=np.int8),
        "matmul.scale": np.full(6, 0.25, np.float32),
        "matmul.zero": np.zeros(6, np.int8),
        "axes": np.array([2, 3], np.int64),
        "up.w": weights(6, 3, 2, 2),
        "factors": np.ones(4, np.float32),
    }
    return graph(nodes, stored)


def test_counts_by_hand(tmp_path: Path) -> None:
    path = write(dense(), tmp_path)
    found = inspect_model(path)

    assert found.macs.by_type == {
        "ConvTranspose": 6 * 4 * 4 * (3 * 2 * 2),  # input elements x weights for each
        "Conv": 6 * 4 * 4 * (1 * 3 * 3),  # output elements x weights for each
        "MatMul": 6 * 6,
        "Gemm": 3 * 6,
    }
    assert found.macs.total == 1152 + 864 + 36 + 18
    assert (found.macs.size, found.macs.further_color, found.macs.unknown) == (SIZE, None, "")
    assert found.parameters == (54 + 6) + (18 + 6) + 36 + 72 + 3
    floats = 54 + 6 + 18 + 6 + 6 + 72 + 4 + 1 + 3
    assert found.initializer_bytes == 4 * floats + (36 + 6 + 1) + 2 * 8
    assert found.nodes["Transpose"] == found.nodes["Cast"] == 2
    assert found.nodes["ConvTranspose"] == 1
    assert found.num_nodes == 15
    assert list(found.nodes.values()) == sorted(found.nodes.values(), reverse=True)


def test_what_the_file_is(tmp_path: Path) -> None:
    path = write(dense(), tmp_path)
    found = inspect_model(path)
    data = path.read_bytes()

    assert (found.path, found.size_bytes) == (path, len(data))
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert found.contract.network == "handmade"
    assert found.golden_difference == 0
    assert found.inputs == (
        Tensor(name="image", dtype="uint8", shape=("batch", "height", "width", 3)),
        Tensor(name="color", dtype="uint8", shape=("batch", 3)),
    )
    assert [str(tensor) for tensor in found.outputs] == ["uint8 [batch, height, width, 3]"]


def test_a_fixed_size_is_in_the_shapes(tmp_path: Path) -> None:
    model = dense()
    for one in (model.graph.input[0], model.graph.output[0]):
        for dimension in list(one.type.tensor_type.shape.dim)[1:3]:
            dimension.dim_value = SIZE
    model.graph.input[1].type.tensor_type.shape.dim[0].dim_param = ""
    found = counted(write(model, tmp_path, fixed_size=True))
    assert [tensor.shape for tensor in found.inputs] == [("batch", SIZE, SIZE, 3), ("?", 3)]
    assert found.macs.total == 2070


def test_macs_are_of_the_training_size(tmp_path: Path) -> None:
    found = counted(write(dense(), tmp_path, training_size=2 * SIZE))
    assert found.macs.by_type["Conv"] == 4 * 864
    assert found.macs.by_type["Gemm"] == 18


def test_extents_that_an_exporter_left_do_not_stand_in_the_way(tmp_path: Path) -> None:
    nodes: list[Node] = [
        *FROM_LEVELS,
        ("MatMul", ["c", "w"], "m"),
        ("ReduceSum", ["m"], "s"),
        ("Add", ["x", "s"], "y"),
        *TO_LEVELS,
    ]
    model = graph(nodes, LEVELS | {"w": weights(3, 2)})
    model.graph.value_info.append(value("m", TensorProto.FLOAT, 7, 2))  # of its own seven images
    assert counted(write(model, tmp_path)).macs.by_type == {"MatMul": 6}


def test_a_weight_used_twice_counts_once(tmp_path: Path) -> None:
    nodes: list[Node] = [
        *FROM_LEVELS,
        ("Conv", ["x", "w"], "a"),
        ("Conv", ["a", "w"], "b"),
        ("Sub", ["b", "unit"], "shifted"),
        ("MatMul", ["c", "half"], "m"),
        ("ReduceSum", ["m"], "s"),
        ("Add", ["shifted", "s"], "y"),
        *TO_LEVELS,
    ]
    stored = LEVELS | {"w": weights(3, 3, 1, 1), "half": weights(3, 2), "nobody": weights(1000)}
    found = counted(write(graph(nodes, stored), tmp_path))
    assert found.parameters == 9 + 6
    assert found.macs.by_type == {"Conv": 2 * SIZE * SIZE * 9, "MatMul": 6}


def test_half_precision_counts_as_single(tmp_path: Path) -> None:
    nodes: list[Node] = [
        *FROM_LEVELS,
        ("Cast", ["x"], "x16", {"to": TensorProto.FLOAT16}),
        ("Cast", ["c"], "c16", {"to": TensorProto.FLOAT16}),
        ("Gemm", ["w", "c16"], "g", {"transA": 1, "transB": 1}),
        ("ReduceSum", ["g"], "s"),
        ("BatchNormalization", ["x16", "scale", "bias", "mean", "variance"], "normal"),
        ("Add", ["normal", "s"], "y16"),
        ("Cast", ["y16"], "y", {"to": TensorProto.FLOAT}),
        *TO_LEVELS,
    ]
    stored = LEVELS | {"w": weights(3, 5, kind=np.float16)}
    stored |= {name: np.ones(3, np.float16) for name in ("scale", "bias", "mean", "variance")}
    found = counted(write(graph(nodes, stored), tmp_path, precision="fp16"))
    assert found.parameters == 15 + 3 + 3  # running statistics are none
    assert found.macs.by_type == {"Gemm": 5 * 3}
    assert found.initializer_bytes == 2 * (15 + 12) + 5


def test_four_bit_weights_are_two_in_a_byte(tmp_path: Path) -> None:
    nodes: list[Node] = [
        *FROM_LEVELS,
        ("DequantizeLinear", ["q", "unit"], "w"),
        ("MatMul", ["c", "w"], "m"),
        ("ReduceSum", ["m"], "s"),
        ("Add", ["x", "s"], "y"),
        *TO_LEVELS,
    ]
    model = graph(nodes, LEVELS)
    model.graph.initializer.append(helper.make_tensor("q", TensorProto.INT4, [3, 5], bytes(8), raw=True))
    found = counted(write(model, tmp_path, precision="int8"))
    assert found.parameters == 15
    assert found.initializer_bytes == 8 + 5


def many() -> onnx.ModelProto:
    """image x colors: a convolution of the image, once, and one of each color's sum."""
    nodes: list[Node] = [
        *FROM_LEVELS,
        ("Conv", ["x", "w"], "shared"),
        ("Reshape", ["c", "rows"], "flat"),
        ("Gemm", ["flat", "v"], "mixed"),
        ("Shape", [COLOR_INPUT], "n.k", {"start": 0, "end": 2}),
        ("Concat", ["n.k", "spread"], "wide", {"axis": 0}),
        ("Reshape", ["mixed", "wide"], "per.color"),
        ("Unsqueeze", ["shared", "one"], "per.image"),
        ("Add", ["per.image", "per.color"], "sums"),
        ("Shape", ["shared"], "planes.shape", {"start": 1}),
        ("Concat", ["minus", "planes.shape"], "every", {"axis": 0}),
        ("Reshape", ["sums", "every"], "batch"),
        ("Conv", ["batch", "w"], "y"),
        ("QuantizeLinear", ["y", "unit", "zero"], "levels"),
        ("Transpose", ["levels"], "last", {"perm": [0, 2, 3, 1]}),
        ("Shape", [IMAGE_INPUT], "image.shape", {"start": 1}),
        ("Concat", ["n.k", "image.shape"], "final", {"axis": 0}),
        ("Reshape", ["last", "final"], COLORED),
    ]
    stored = LEVELS | {
        "w": weights(3, 3, 1, 1),
        "v": weights(3, 3),
        "rows": np.array([-1, 3], np.int64),
        "spread": np.array([3, 1, 1], np.int64),
        "one": np.array([1], np.int64),
        "minus": np.array([-1], np.int64),
    }
    return graph(nodes, stored, many_colors=True)


def test_a_further_color_costs_what_depends_on_it(tmp_path: Path) -> None:
    found = counted(write(many(), tmp_path, many_colors=True))
    conv = 9 * SIZE * SIZE
    assert found.macs.by_type == {"Conv": 2 * conv, "Gemm": 9}
    assert found.macs.total == 2 * conv + 9
    assert found.macs.further_color == conv + 9
    assert found.inputs[1].shape == ("batch", "colors", 3)


EINSUM: list[Node] = [*FROM_LEVELS, ("Einsum", ["x", "c"], "y", {"equation": "bchw,bc->bchw"}), *TO_LEVELS]
VAGUE: list[Node] = [
    *FROM_LEVELS,
    ("ReduceSum", ["c"], "sum", {"keepdims": 0}),
    ("Mul", ["sum", "none"], "nought"),
    ("Cast", ["nought"], "number", {"to": TensorProto.INT64}),
    ("Add", ["whole", "number"], "shape"),  # the shape of x, by values that nobody knows beforehand
    ("Reshape", ["x", "shape"], "hidden"),
    ("Conv", ["hidden", "w"], "y"),
    *TO_LEVELS,
]


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        (EINSUM, "those of Einsum are not known here"),
        (VAGUE, "cannot tell the shape of hidden, at a Conv node"),
    ],
)
def test_what_cannot_be_counted_is_said_and_not_counted_as_nothing(
    nodes: list[Node], said: str, tmp_path: Path
) -> None:
    stored: dict[str, np.ndarray] = {
        "none": np.array(0, np.float32),
        "whole": np.array([0, 3, SIZE, SIZE], np.int64),
        "w": weights(3, 3, 1, 1),
    }
    found = counted(write(graph(nodes, LEVELS | stored), tmp_path))
    assert (found.macs.total, found.macs.by_type, found.macs.further_color) == (None, {}, None)
    assert said in found.macs.unknown
    assert sum(found.nodes.values()) == len(nodes)


def test_initializers_that_an_old_file_lists_as_inputs_are_none(tmp_path: Path) -> None:
    model = dense()
    model.graph.input.append(value("conv.b", TensorProto.FLOAT, 6))
    found = counted(write(model, tmp_path))
    assert [tensor.name for tensor in found.inputs] == ["image", "color"]
    assert found.macs.total == 2070


def test_pytorch_counts_the_same(tiny_checkpoint: Path, tiny_model_path: Path) -> None:
    import torch
    from torch import Tensor, nn

    from trainer.checkpoint import load_checkpoint

    module = load_checkpoint(tiny_checkpoint).model.eval()
    counts: Counter[str] = Counter()

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Each output value is a sum over one filter, or one row."""
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            kind = "Conv" if isinstance(layer, nn.Conv2d) else "Gemm"
            counts[kind] += output.numel() * layer.weight[0].numel()

    for layer in module.modules():
        layer.register_forward_hook(count)
    with torch.inference_mode():
        module(torch.zeros(1, 3, 32, 32), torch.zeros(1, 3))
    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
    parameters = sum(parameter.numel() for parameter in module.parameters())
    # Folded into the convolution before it, a normalization leaves one bias for each of its channels.
    parameters -= sum(norm.num_features for norm in norms)

    found = inspect_model(tiny_model_path)
    assert found.macs.by_type == dict(counts)
    assert found.macs.total == sum(counts.values())
    assert found.parameters == parameters
    assert found.num_nodes == found.contract.parity.final.nodes


def external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[-1]
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


def retrained(model: onnx.ModelProto) -> None:
    model.graph.initializer[2].CopyFrom(numpy_helper.from_array(weights(6, 1, 3, 3) + 1, "conv.w"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (external, "keeps data in other files"),
        (retrained, "graph was changed"),
        (lambda model: model.ClearField("metadata_props"), f"has no {METADATA_KEY}"),
        (lambda model: helper.set_model_props(model, {METADATA_KEY: "{}"}), "contract version None"),
    ],
)
def test_models_that_inference_refuses_are_refused(change: Any, said: str, tmp_path: Path) -> None:
    path = write(dense(), tmp_path)
    model = onnx.load_model_from_string(path.read_bytes())
    change(model)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ContractError, match=said) as caught:
        inspect_model(path)
    assert str(caught.value).startswith(f"model {path} is refused: ")
    assert caught.value.exit_code == ExitCode.MODEL_REFUSED


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_a_truncated_file_is_refused(kept: float, tmp_path: Path) -> None:
    path = write(dense(), tmp_path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(ContractError, match="handmade.onnx is refused"):
        inspect_model(path)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.onnx", tmp_path):
        with pytest.raises(ContractError, match="cannot be read"):
            inspect_model(path)


def test_without_onnx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = write(dense(), tmp_path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(PolyexportError, match=r"pip install 'polyexport\[inspect\]'") as caught:
        inspect_model(path)
    assert caught.value.exit_code == ExitCode.FATAL


def test_it_loads_no_torch_and_onnx_only_when_it_is_called(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, polyexport.model.inspect\nassert 'onnx' not in sys.modules\n"
        "polyexport.model.inspect.inspect_graph(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "assert 'onnx' in sys.modules and not {'torch', 'trainer', 'onnxscript', 'onnxsim'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code, str(write(dense(), tmp_path))], check=True)
