from importlib.resources import files

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from polyexport.bench.limit import SIDE, TIMES, measure_limits, multiplied_in, multiplier
from polyexport.model.model import Model
from polyexport.runtime.open import open_session
from polyexport.runtime.provider import load_provider
from polyexport.runtime.session import SessionOptions


def constant(value: np.generic, name: str = "") -> TensorProto:
    return numpy_helper.from_array(np.asarray(value), name)


def graph(nodes: list[onnx.NodeProto], dtype: int, initializers: list[TensorProto]) -> bytes:
    shape = numpy_helper.from_array(np.array([SIDE, SIDE], np.int64), "shape")
    ends = [helper.make_tensor_value_info(name, dtype, ["rows", SIDE]) for name in "ac"]
    built = helper.make_graph(nodes, "matmul", ends[:1], ends[1:], [shape, *initializers])
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def filled(value: np.generic, name: str) -> onnx.NodeProto:
    tensor = numpy_helper.from_array(np.array([value]))
    return helper.make_node("ConstantOfShape", ["shape"], [name], value=tensor)


def test_the_graphs_are_what_their_source_makes() -> None:
    def chain(kind: str) -> list[tuple[int, str, str]]:
        names = ["a", *(f"{kind}{number}" for number in range(TIMES - 1)), "c"]
        return [(number, names[number], names[number + 1]) for number in range(TIMES)]

    products = [helper.make_node("MatMul", [before, "b"], [after]) for _, before, after in chain("x")]
    float32 = graph([filled(np.float32(1 / SIDE), "b"), *products], TensorProto.FLOAT, [])
    quantized = [filled(np.int8(3), "b8"), helper.make_node("DequantizeLinear", ["b8", "step", "zero_b"], ["b"])]
    for number, before, after in chain("q"):
        quantized += [
            helper.make_node("DequantizeLinear", [before, "step", "zero_a"], [f"f{number}"]),
            helper.make_node("MatMul", [f"f{number}", "b"], [f"m{number}"]),
            helper.make_node("QuantizeLinear", [f"m{number}", "step", "zero_a"], [after]),
        ]
    zeros = [constant(np.float32(0.1), "step"), constant(np.uint8(128), "zero_a"), constant(np.int8(0), "zero_b")]
    int8 = graph(quantized, TensorProto.UINT8, zeros)
    folder = files("polyexport.bench").joinpath("matmul")
    assert folder.joinpath("float32.onnx").read_bytes() == float32
    assert folder.joinpath("int8.onnx").read_bytes() == int8


def test_the_product_is_one() -> None:
    graph_bytes = files("polyexport.bench").joinpath("matmul", "float32.onnx").read_bytes()
    matrix = np.random.default_rng(0).random((SIDE, SIDE), dtype=np.float32)
    product = open_session(graph_bytes, SessionOptions(provider="cpu")).run("c", {"a": matrix})
    np.testing.assert_allclose(product, np.repeat(matrix.mean(axis=1)[:, None], SIDE, axis=1), rtol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_multiplication_takes_time(precision: str) -> None:
    multiply = multiplier("cpu", precision)  # type: ignore[arg-type]
    assert multiply() > 0


def test_every_runtime_that_is_there_is_measured() -> None:
    limits = measure_limits()
    assert {limit.provider for limit in measure_limits("cpu")} == {"cpu"}
    assert all(limit.gflop_per_s > 0.1 for limit in limits)
    found = {(limit.provider, limit.precision) for limit in limits}
    expected = {("cpu", "float32"), ("cpu", "int8"), ("openvino", "float32"), ("openvino", "int8")}
    bfloat16 = "bfloat16" in load_provider("openvino").matmul_formats()
    assert found == expected | ({("openvino", "bfloat16")} if bfloat16 else set())


def test_what_a_fraction_refers_to(tiny_model: Model) -> None:
    assert multiplied_in(tiny_model.session, "fp32") == ("cpu", "float32")
    assert multiplied_in(tiny_model.session, "int8") == ("cpu", "int8")
