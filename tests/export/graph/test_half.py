from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from polyexport.errors import ModelError
from polyexport.export.graph.half import half_graph


def graph_of(
    nodes: Sequence[NodeProto], constants: dict[str, np.ndarray], input_type: int = TensorProto.UINT8
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", input_type, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, ["n", "c", "oh", "ow"])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


ENDS: dict[str, np.ndarray] = {"scale": np.array(1 / 127.5, np.float32), "zero": np.array(0, np.uint8)}
IN = helper.make_node("DequantizeLinear", ["x", "scale", "zero"], ["a"])
OUT = helper.make_node("QuantizeLinear", ["b", "scale", "zero"], ["y"])


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    result: np.ndarray = session.run(None, {"x": x})[0]
    return result


def kinds(model: onnx.ModelProto) -> dict[str, int]:
    return {one.name: one.data_type for one in model.graph.initializer}


def test_constants_are_halved_and_the_images_stay_uint8() -> None:
    model = graph_of([IN, helper.make_node("Mul", ["a", "k"], ["b"]), OUT], ENDS | {"k": np.array(0.5, np.float32)})
    half = half_graph(model)
    x = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5), dtype=np.uint8)

    assert kinds(half) == {"scale": TensorProto.FLOAT16, "zero": TensorProto.UINT8, "k": TensorProto.FLOAT16}
    assert [node.op_type for node in half.graph.node] == ["DequantizeLinear", "Mul", "QuantizeLinear"]
    assert np.abs(run(half, x).astype(int) - run(model, x)).max() <= 1
    assert kinds(model)["k"] == TensorProto.FLOAT  # the given graph is left alone


def test_the_scales_of_a_resize_stay_float32() -> None:
    resize = helper.make_node("Resize", ["a", "", "scales"], ["b"], mode="linear")
    model = graph_of([IN, resize, OUT], ENDS | {"scales": np.array([1, 1, 2, 2], np.float32)})
    half = half_graph(model)
    assert kinds(half)["scales"] == TensorProto.FLOAT
    assert run(half, np.full((1, 3, 2, 2), 7, np.uint8)).shape == (1, 3, 4, 4)


def test_a_constant_that_is_both_a_scale_and_a_value_is_refused() -> None:
    nodes = [IN, helper.make_node("Resize", ["a", "", "s"], ["c"]), helper.make_node("Mul", ["c", "s"], ["b"]), OUT]
    with pytest.raises(ModelError, match="s is a scale, .* and a value"):
        half_graph(graph_of(nodes, ENDS | {"s": np.array([1, 1, 2, 2], np.float32)}))


def test_casts_to_float32_become_casts_to_float16() -> None:
    cast = helper.make_node("Cast", ["x"], ["a"], to=TensorProto.FLOAT)
    model = graph_of([cast, helper.make_node("Mul", ["a", "k"], ["b"]), OUT], ENDS | {"k": np.array(1, np.float32)})
    half = half_graph(model)
    assert [a.i for n in half.graph.node if n.op_type == "Cast" for a in n.attribute] == [TensorProto.FLOAT16]


def test_tensors_in_attributes_are_halved() -> None:
    constant = helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.array(2, np.float32)))
    model = graph_of([IN, constant, helper.make_node("Mul", ["a", "k"], ["b"]), OUT], ENDS)
    x = np.full((1, 3, 2, 2), 9, np.uint8)
    assert np.array_equal(run(half_graph(model), x), run(model, x))


def test_a_float_input_gets_the_only_cast() -> None:
    model = graph_of(
        [helper.make_node("Mul", ["x", "k"], ["b"]), OUT], ENDS | {"k": np.array(1, np.float32)}, TensorProto.FLOAT
    )
    half = half_graph(model)
    assert [node.op_type for node in half.graph.node] == ["Cast", "Mul", "QuantizeLinear"]
    assert run(half, np.full((1, 3, 2, 2), 0.5, np.float32)).max() == 64


@pytest.mark.parametrize("value", [1e5, -1e5, float("nan"), float("inf")])
def test_what_float16_cannot_hold_is_refused_by_name(value: float) -> None:
    nodes = [IN, helper.make_node("Mul", ["a", "huge"], ["b"]), OUT]
    with pytest.raises(ModelError, match="huge"):
        half_graph(graph_of(nodes, ENDS | {"huge": np.array(value, np.float32)}))
