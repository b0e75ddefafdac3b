"""ONNX files as other exporters write them, with random weights: one function makes each, at a path."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import FunctionProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

__all__ = ["FILES", "constant", "picture", "save_graph", "weights"]

_F = TensorProto.FLOAT


def weights(name: str, *shape: int, scale: float = 0.3) -> TensorProto:
    """Random float32 weights, other ones for every name."""
    values = np.random.default_rng(list(name.encode())).standard_normal(shape) * scale
    return numpy_helper.from_array(values.astype(np.float32), name)


def constant(name: str, values: object, dtype: str = "float32") -> TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def picture(name: str, *extents: int | str, kind: int = _F) -> ValueInfoProto:
    """An input or output; [n, 3, h, w] without extents."""
    return helper.make_tensor_value_info(name, kind, extents or ["n", 3, "h", "w"])


def save_graph(
    path: Path,
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    initializers: Sequence[TensorProto] = (),
    *,
    opset: int = 17,
    functions: Sequence[FunctionProto] = (),
    domains: Sequence[str] = (),
) -> Path:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers)
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(name, 1) for name in domains)]
    ir_version = helper.find_min_ir_version_for(imports, ignore_unknown=True)
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=max(4, ir_version), functions=functions), path)
    return path


def _convolution(source: str, target: str, kernel: str = "W") -> NodeProto:
    return helper.make_node("Conv", [source, kernel], [target], name=target, pads=[1, 1, 1, 1])


def _torchscript(path: Path, **options: object) -> Path:
    """A network with two scales, by the exporter of PyTorch before the present one."""
    import torch
    from torch import Tensor, nn
    from torch.nn.functional import interpolate

    class TwoScales(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU())
            self.deep = nn.Sequential(nn.Conv2d(6, 6, 3, 2, 1), nn.InstanceNorm2d(6, affine=True), nn.ReLU())
            self.last = nn.Conv2d(12, 3, 3, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            fine = self.down(x)
            coarse = interpolate(self.deep(fine), scale_factor=2, mode="bilinear")
            return torch.sigmoid(interpolate(self.last(torch.cat([fine, coarse], 1)), scale_factor=2))

    torch.manual_seed(0)
    half, extents = options.pop("half", False), options.pop("extents", (1, 3, 32, 32))
    network = TwoScales().eval()
    example = torch.rand(*extents)  # type: ignore[misc]
    network, example = (network.half(), example.half()) if half else (network, example)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is a newer exporter
        torch.onnx.export(network, (example,), str(path), dynamo=False, **options)  # type: ignore[arg-type]
    return path


def torchscript(path: Path) -> Path:
    """Opset 11, with free batch, height and width; every size that is a multiple of 4."""
    free = {0: "batch", 2: "height", 3: "width"}
    return _torchscript(
        path, opset_version=11, input_names=["input"], output_names=["output"],
        dynamic_axes={"input": free, "output": free},
    )  # fmt: skip


def half(path: Path) -> Path:
    """The same in float16, for one image of 48x32."""
    return _torchscript(path, opset_version=13, half=True, extents=(1, 3, 32, 48))


def keras(path: Path) -> Path:
    """NHWC with the names of TensorFlow, twice the size, -1..1."""
    nodes = [
        helper.make_node("Transpose", ["input_1:0"], ["model/conv/Conv2D__6:0"], name="a", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["model/conv/Conv2D__6:0", "W1"], ["c"], name="b", pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"], name="model/re_lu/Relu"),
        helper.make_node("Conv", ["r", "W2"], ["s"], pads=[1] * 4),
        helper.make_node("DepthToSpace", ["s"], ["d"], blocksize=4),
        helper.make_node("Transpose", ["d"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("Tanh", ["t"], ["Identity:0"], name="Tanh"),
    ]
    inputs = [picture("input_1:0", "unk__1", "unk__2", "unk__3", 3)]
    outputs = [picture("Identity:0", "unk__4", "unk__5", "unk__6", 3)]
    return save_graph(path, nodes, inputs, outputs, [weights("W1", 8, 3, 3, 3), weights("W2", 48, 8, 3, 3)], opset=13)


def levels(path: Path) -> Path:
    """uint8 NHWC in and out."""
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=_F),
        helper.make_node("Transpose", ["f"], ["a"], perm=[0, 3, 1, 2]),
        _convolution("a", "b"),
        helper.make_node("Transpose", ["b"], ["c"], perm=[0, 2, 3, 1]),
        helper.make_node("Clip", ["c", "low", "high"], ["d"]),
        helper.make_node("Cast", ["d"], ["y"], to=TensorProto.UINT8),
    ]
    kind = TensorProto.UINT8
    ends = [constant("low", 0), constant("high", 255)]
    return save_graph(
        path, nodes, [picture("x", "n", "h", "w", 3, kind=kind)], [picture("y", "n", "h", "w", 3, kind=kind)],
        [weights("W", 3, 3, 3, 3), *ends],
    )  # fmt: skip


def newer(path: Path) -> Path:
    """A later opset than exports have."""
    nodes = [_convolution("x", "b", "V"), helper.make_node("Sigmoid", ["b"], ["y"])]
    return save_graph(path, nodes, [picture("x")], [picture("y")], [weights("V", 3, 3, 3, 3)], opset=23)


def upsample(path: Path) -> Path:
    """The Upsample of opset 9, whose bilinear filter later opsets call asymmetric."""
    nodes = [
        helper.make_node("Upsample", ["x", "scales"], ["u"], mode="linear"),
        _convolution("u", "b"),
        helper.make_node("Sigmoid", ["b"], ["y"]),
    ]
    scales = constant("scales", [1, 1, 2, 2])
    return save_graph(
        path, nodes, [picture("x")], [picture("y", "n", 3, "H", "W")], [scales, weights("W", 3, 3, 3, 3)], opset=9
    )


def function(path: Path) -> Path:
    """One image [3, h, w] without a batch, and a function in the file."""
    swish = helper.make_function(
        "my", "Swish", ["a"], ["b"],
        [helper.make_node("Sigmoid", ["a"], ["s"]), helper.make_node("Mul", ["a", "s"], ["b"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    nodes = [
        helper.make_node("Unsqueeze", ["x", "axes"], ["u"]),
        _convolution("u", "b"),
        helper.make_node("Swish", ["b"], ["e"], domain="my"),
        helper.make_node("Squeeze", ["e", "axes"], ["y"]),
    ]
    initializers = [weights("W", 3, 3, 3, 3), constant("axes", [0], "int64")]
    return save_graph(
        path, nodes, [picture("x", 3, "h", "w")], [picture("y", 3, "h", "w")], initializers,
        functions=[swish], domains=["my"],
    )  # fmt: skip


def two_outputs(path: Path) -> Path:
    """A vector beside the image, and weights that are listed among the inputs."""
    nodes = [
        _convolution("x", "b"),
        helper.make_node("Sigmoid", ["b"], ["y"]),
        helper.make_node("GlobalAveragePool", ["y"], ["features"]),
    ]
    inputs = [picture("x"), picture("W", 3, 3, 3, 3)]
    return save_graph(
        path, nodes, inputs, [picture("features", "n", 3, 1, 1), picture("y")], [weights("W", 3, 3, 3, 3)]
    )


def inputs(path: Path) -> Path:
    """An image, a mask, a noise level for each image, a label, and a number without axes."""
    nodes = [
        helper.make_node("Gather", ["table", "style"], ["row"]),
        helper.make_node("Unsqueeze", ["row", "axes"], ["shift"]),
        helper.make_node("Concat", ["x", "mask"], ["both"], axis=1),
        _convolution("both", "b"),
        helper.make_node("Reshape", ["sigma", "column"], ["level"]),
        helper.make_node("Mul", ["b", "level"], ["c"]),
        helper.make_node("Mul", ["c", "gain"], ["d"]),
        helper.make_node("Add", ["d", "shift"], ["e"]),
        helper.make_node("Sigmoid", ["e"], ["y"]),
    ]
    values = [
        picture("x"), picture("mask", "n", 1, "h", "w"), picture("sigma", "n"),
        picture("style", "n", kind=TensorProto.INT64), helper.make_tensor_value_info("gain", _F, []),
    ]  # fmt: skip
    constants = [
        weights("W", 3, 4, 3, 3), weights("table", 2, 3), constant("axes", [2, 3], "int64"),
        constant("column", [-1, 1, 1, 1], "int64"),
    ]  # fmt: skip
    return save_graph(path, nodes, values, [picture("y")], constants)


FILES: dict[str, Callable[[Path], Path]] = {
    each.__name__: each for each in (torchscript, half, keras, levels, newer, upsample, function, two_outputs)
}
"""Files that say enough of themselves, by their names."""
