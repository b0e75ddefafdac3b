"""Masks of what could change, against what does change when ONNX Runtime runs the graph."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from polyexport.export.graph.dependence import UnfollowedError, cyclic_shifts, follow

RNG = np.random.default_rng(0)
Constants = Mapping[str, Any]


def node(operator: str, inputs: Sequence[str] | str, output: str = "y", **attributes: Any) -> onnx.NodeProto:
    names = inputs.split() if isinstance(inputs, str) else list(inputs)
    return helper.make_node(operator, names, [output], name=f"{operator}_{output}", **attributes)


def weights(*shape: int) -> NDArray[np.float32]:
    """Return weights none of which is near zero."""
    signs = RNG.choice([-1, 1], shape)
    return np.asarray(RNG.uniform(0.5, 1.5, shape) * signs, np.float32)


def integers(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def model_of(nodes: Sequence[onnx.NodeProto], constants: Constants, *, opset: int = 21) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, "c", "h", "w"])],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def changed(model: onnx.ModelProto, marks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which values of the output changed in several runs in which the marked pixels were drawn anew."""
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    before = RNG.uniform(-1, 1, marks.shape).astype(np.float32)
    [expected] = session.run(["y"], {"x": before})
    different = np.zeros(expected.shape, np.bool_)
    draws = [RNG.uniform(-scale, scale, marks.shape) for scale in (1, 5, 5, 5)]
    for values in (*draws, np.full(marks.shape, 100), np.full(marks.shape, -100)):  # the last ones are every maximum
        after = np.where(marks, values, before).astype(np.float32)
        different |= session.run(["y"], {"x": after})[0] != expected
    return different


def found(model: onnx.ModelProto, marks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(follow(model, "y", {"x": marks}, {}).output)


def half(channels: int = 2, height: int = 6, width: int = 20, cut: int = 10) -> NDArray[np.bool_]:
    marks = np.zeros((1, channels, height, width), np.bool_)
    marks[..., :cut] = True
    return marks


def shuffled() -> list[onnx.NodeProto]:
    """Values moved to windows and back, as attention in windows does it."""
    return [
        node("Reshape", "x split", "a"),
        node("Transpose", "a", "b", perm=[0, 2, 4, 1, 3, 5]),
        node("ReduceMax", "b window", "c", keepdims=1),
        node("Add", "b c", "d"),
        node("Transpose", "d", "e", perm=[0, 3, 1, 4, 2, 5]),
        node("Reshape", "e whole"),
    ]


EXACT: dict[str, tuple[Sequence[onnx.NodeProto], Constants]] = {
    "conv 3": ([node("Conv", "x w", pads=[1] * 4)], {"w": weights(3, 2, 3, 3)}),
    "conv stride": ([node("Conv", "x w", pads=[2, 1, 0, 3], strides=[2, 3])], {"w": weights(3, 2, 3, 5)}),
    "conv dilated": ([node("Conv", "x w", pads=[0, 4, 0, 4], dilations=[1, 4])], {"w": weights(1, 2, 1, 3)}),
    "conv same": ([node("Conv", "x w", auto_pad="SAME_UPPER", strides=[1, 2])], {"w": weights(1, 2, 3, 4)}),
    "conv same lower": ([node("Conv", "x w", auto_pad="SAME_LOWER", strides=[1, 2])], {"w": weights(1, 2, 3, 4)}),
    "transposed": ([node("ConvTranspose", "x w", strides=[1, 2], pads=[0, 1, 0, 1])], {"w": weights(2, 3, 1, 4)}),
    "transposed extra": (
        [node("ConvTranspose", "x w", strides=[1, 3], output_padding=[0, 1], dilations=[1, 2])],
        {"w": weights(2, 3, 1, 2)},
    ),
    "max pool": ([node("MaxPool", "x", kernel_shape=[1, 4], strides=[1, 3], ceil_mode=1)], {}),
    "average pool": ([node("AveragePool", "x", kernel_shape=[1, 3], pads=[0, 1, 0, 1], strides=[1, 2])], {}),
    "pad reflect": ([node("Pad", "x pads", mode="reflect")], {"pads": integers(0, 0, 2, 5, 0, 0, 2, 5)}),
    "pad constant": ([node("Pad", "x pads")], {"pads": integers(0, 0, 0, 5, 0, 0, 0, 1)}),
    "depth to space": ([node("Conv", "x w", "a"), node("DepthToSpace", "a", blocksize=2)], {"w": weights(8, 2, 1, 1)}),
    "space to depth": ([node("SpaceToDepth", "x", blocksize=2)], {}),
    "windows": (
        shuffled(),
        {"split": integers(1, 2, 3, 2, 4, 5), "whole": integers(1, 2, 6, 20), "window": integers(3, 5)},
    ),
    "slice": ([node("Slice", "x from to axes steps")], {
        "from": integers(3), "to": integers(19), "axes": integers(3), "steps": integers(2),
    }),
    "shape of a slice": (
        [node("Shape", "x", "s"), node("Gather", ["s", "three"], "n"), node("Slice", "x from n axes")],
        {"three": integers(3), "from": integers(9), "axes": integers(3)},
    ),
    "channels": ([node("ReduceMean", "x axes")], {"axes": integers(1)}),
    "columns": ([node("ReduceSum", "x axes", keepdims=0)], {"axes": integers(2)}),
    "softmax of channels": ([node("Softmax", "x", axis=1)], {}),
    "softmax of columns": ([node("Softmax", "x", axis=2)], {}),
    "where": ([node("Greater", "x zero", "g"), node("Where", "g x zero")], {"zero": np.float32(0)}),
    "linear": ([node("Resize", ["x", "", "s"], mode="linear")], {"s": np.array([1, 1, 1, 2], np.float32)}),
    "cubic": ([node("Resize", ["x", "", "s"], mode="cubic")], {"s": np.array([1, 1, 1, 2], np.float32)}),
}  # fmt: skip
"""Graphs whose masks must be exactly what changes."""

WIDER: dict[str, tuple[Sequence[onnx.NodeProto], Constants]] = {
    "diagonal matrix": ([node("MatMul", "x w")], {"w": np.diag(np.arange(1, 21)).astype(np.float32)}),
    "nearest": ([node("Resize", ["x", "", "s"], mode="nearest")], {"s": np.array([1, 1, 1, 2], np.float32)}),
    "groups": ([node("Conv", "x w", pads=[1] * 4, group=2)], {"w": weights(2, 1, 3, 3)}),
    "matrix of all": ([node("MatMul", "x w")], {"w": weights(20, 20)}),
    "linear down": ([node("Resize", ["x", "", "s"], mode="linear")], {"s": np.array([1, 1, 1, 0.5], np.float32)}),
    "linear down smooth": (
        [node("Resize", ["x", "", "s"], mode="linear", antialias=1)],
        {"s": np.array([1, 1, 1, 0.25], np.float32)},
    ),
    "sizes": ([node("Resize", ["x", "", "", "s"], mode="linear")], {"s": integers(1, 2, 6, 30)}),
    "axes": ([node("Resize", ["x", "", "s"], mode="linear", axes=[3])], {"s": np.array([2], np.float32)}),
    "asymmetric": (
        [node("Resize", ["x", "", "s"], mode="nearest", coordinate_transformation_mode="asymmetric")],
        {"s": np.array([1, 1, 1, 3], np.float32)},
    ),
    "instance norm": ([node("InstanceNormalization", "x a a")], {"a": np.ones(2, np.float32)}),
    "layer norm": ([node("LayerNormalization", "x a", axis=3)], {"a": np.ones(20, np.float32)}),
    "group norm": (
        [node("GroupNormalization", "x a a", num_groups=1)],
        {"a": np.ones(2, np.float32)},
    ),
    "pooled": ([node("GlobalAveragePool", "x", "p"), node("Mul", "x p")], {}),
    "attention": (
        [node("Transpose", "x", "t", perm=[0, 1, 3, 2]), node("MatMul", "t x", "a"), node("Softmax", "a")],
        {},
    ),
    "cumulative": ([node("CumSum", "x axis")], {"axis": np.int64(3)}),
    "einsum": ([node("Einsum", ["x", "x"], equation="bchw,bcvw->bchv")], {}),
    "size": (
        [node("Shape", "x", "s"), node("Cast", "s", "f", to=1), node("ReduceMax", "f", "m"), node("Div", "x m")],
        {},
    ),
}
"""Graphs whose masks may have more than what changes."""


@pytest.mark.parametrize("name", EXACT)
def test_a_mask_is_what_changes(name: str) -> None:
    model = model_of(*EXACT[name])
    for marks in (half(), ~half(cut=7), half(cut=0)):
        mask, real = found(model, marks), changed(model, marks)
        assert mask.shape == real.shape
        assert np.argwhere(mask != real).tolist() == []


@pytest.mark.parametrize("name", WIDER)
def test_a_mask_has_all_that_changes(name: str) -> None:
    model = model_of(*WIDER[name])
    for marks in (half(), ~half(cut=7)):
        mask, real = found(model, marks), changed(model, marks)
        assert mask.shape == real.shape
        assert np.argwhere(real & ~mask).tolist() == []
    assert not found(model, half(cut=0)).any()


@settings(max_examples=150, deadline=None)
@given(
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 3),
    before=st.integers(0, 4),
    after=st.integers(0, 4),
    cut=st.integers(0, 23),
    operator=st.sampled_from(["Conv", "MaxPool", "ConvTranspose"]),
    ceil=st.integers(0, 1),
)
def test_every_window(
    kernel: int, stride: int, dilation: int, before: int, after: int, cut: int, operator: str, ceil: int
) -> None:
    reach = (kernel - 1) * dilation + 1
    before, after = min(before, kernel - 1), min(after, kernel - 1)
    attributes: dict[str, Any] = {"strides": [1, stride], "dilations": [1, dilation], "pads": [0, before, 0, after]}
    constants = {}
    if operator == "MaxPool":
        attributes |= {"kernel_shape": [1, kernel], "ceil_mode": ceil}
    else:
        constants["w"] = weights(2, 2, 1, kernel)
    if 23 + before + after < reach or (operator == "ConvTranspose" and 22 * stride + reach <= before + after):
        return
    model = model_of([node(operator, "x w" if constants else "x", **attributes)], constants)
    marks = half(height=1, width=23, cut=cut)
    assert np.array_equal(found(model, marks), changed(model, marks))


def test_what_makes_a_network_global_is_named() -> None:
    for name, expected in {
        "instance norm": "InstanceNormalization InstanceNormalization_y",
        "pooled": "GlobalAveragePool GlobalAveragePool_p",
        "attention": "Softmax Softmax_y",
        "einsum": "Einsum Einsum_y",
        "size": "Div Div_y",
    }.items():
        model = model_of(*WIDER[name])
        assert follow(model, "y", {"x": half(cut=19)}, {}).mixing[0] == expected, name
    assert follow(model_of(*EXACT["conv 3"]), "y", {"x": half()}, {}).mixing == ()


def test_an_operator_of_another_domain_is_not_followed() -> None:
    nodes = [helper.make_node("QuickGelu", ["x"], ["y"], name="gelu", domain="com.microsoft")]
    with pytest.raises(UnfollowedError, match="QuickGelu gelu cannot be followed"):
        follow(model_of(nodes, {}), "y", {"x": half()}, {})


def test_a_roll_is_a_cyclic_shift() -> None:
    nodes = [
        node("Slice", "x five end axes", "a"),
        node("Slice", "x zero five axes", "b"),
        helper.make_node("Concat", ["a", "b"], ["y"], name="roll", axis=3),
    ]
    constants = {"zero": integers(0), "five": integers(5), "end": integers(99), "axes": integers(3)}
    model = model_of(nodes, constants)
    assert cyclic_shifts(model) == ("Concat roll",)
    assert cyclic_shifts(model_of(*EXACT["windows"])) == ()
    assert np.array_equal(found(model, half()), changed(model, half()))


def test_memory_is_that_of_the_tensors_that_live_at_a_time() -> None:
    nodes = [node("Conv", "x w", "a"), node("Relu", "a", "b"), node("Add", "b b", "c"), node("ReduceMean", "c axes")]
    model = model_of(nodes, {"w": weights(8, 2, 1, 1), "axes": integers(1)})
    assert follow(model, "y", {"x": half()}, {}).peak_bytes == 2 * 8 * 120 * 4
