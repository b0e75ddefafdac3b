import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from polyexport.errors import ModelError
from polyexport.export.graph.equalization import Calibration, ConvGraph, coarse, equalize
from polyexport.export.graph.quantization import QuantizationOptions, calibrate, quantizable, quantize
from polyexport.export.graph.trace import simplify, trace
from polyexport.export.source.load import load_source
from polyexport.imaging.psnr import psnr_db

Graph = onnx.ModelProto


class Net:
    """Writes a graph with uint8 NHWC images, node by node."""

    def __init__(self, *, vocabulary: bool = False, size: int | None = None) -> None:
        self.rng = np.random.default_rng(5)
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {
            "level": np.array(1 / 127.5, np.float32),
            "zero": np.array(0, np.uint8),
            "one": np.array(1, np.float32),
            "twice": np.array([1, 1, 2, 2], np.float32),
        }
        extent = [size, size] if size else ["height", "width"]
        kind = TensorProto.INT64 if vocabulary else TensorProto.UINT8
        shape: list[str | int] = ["batch"] if vocabulary else ["batch", 3]
        self.inputs = [
            helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", *extent, 3]),
            helper.make_tensor_value_info("color", kind, shape),
        ]
        self.output = helper.make_tensor_value_info("colored", TensorProto.UINT8, ["batch", *extent, 3])
        planes = self.add("Transpose", "image", name="planes", perm=[0, 3, 1, 2])
        self.image = self.add("Sub", self.add("DequantizeLinear", planes, "level", "zero", name="dq"), "one", name="in")

    def add(self, operator: str, *inputs: str, name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [name], name=f"node_{name}", **attributes))
        return name

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants[name] = value
        return name

    def conv(self, value: str, cin: int, cout: int, *, name: str, kernel: int = 3) -> str:
        weights = self.rng.normal(0, (2 / cin / kernel**2) ** 0.5, (cout, cin, kernel, kernel)).astype(np.float32)
        weights *= np.exp(self.rng.uniform(-1.5, 1.5, (cout, 1, 1, 1))).astype(np.float32)  # channels of unlike range
        bias = self.rng.normal(0, 0.1, cout).astype(np.float32)
        constants = self.constant(f"{name}.weight", weights), self.constant(f"{name}.bias", bias)
        return self.add("Conv", value, *constants, name=name, pads=[kernel // 2] * 4)

    def block(self, value: str, cin: int, cout: int, *, name: str) -> str:
        return self.add("Relu", self.conv(value, cin, cout, name=name), name=f"{name}_relu")

    def color(self, channels: int) -> str:
        """[B, C, 1, 1]."""
        axes = self.constant("axes", np.array([2, 3]))
        if self.inputs[1].type.tensor_type.elem_type == TensorProto.INT64:
            table = self.constant("table", self.rng.normal(0, 1, (4, channels)).astype(np.float32))
            row = self.add("Gather", table, "color", name="row")
        else:
            weights = self.constant("project", self.rng.normal(0, 0.5, (3, channels)).astype(np.float32))
            row = self.add(
                "MatMul", self.add("DequantizeLinear", "color", "level", "zero", name="rgb"), weights, name="row"
            )
        return self.add("Unsqueeze", row, axes, name="map")

    def finish(self, value: str, *tail: str) -> Graph:
        for operator in tail or ("Tanh",):
            value = self.add(operator, value, name=operator.lower())
        levels = self.add("QuantizeLinear", self.add("Add", value, "one", name="up"), "level", "zero", name="levels")
        self.add("Transpose", levels, name="colored", perm=[0, 2, 3, 1])
        graph = helper.make_graph(
            self.nodes,
            "polyexport",
            self.inputs,
            [self.output],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10, producer_name="us")
        onnx.checker.check_model(model, full_check=True)
        return model


def unet() -> Graph:
    """Two levels, color added at the lower one: convolutions a, b | c, d | e, f | head."""
    net = Net()
    skip = net.block(net.block(net.image, 3, 6, name="a"), 6, 6, name="b")
    low = net.block(net.add("MaxPool", skip, name="pool", kernel_shape=[2, 2], strides=[2, 2]), 6, 8, name="c")
    low = net.add("Add", low, net.color(8), name="colored_features")
    low = net.block(low, 8, 8, name="d")
    high = net.add("Resize", low, "", "twice", name="resize", mode="linear")
    both = net.add("Concat", skip, high, name="concat", axis=1)
    both = net.block(net.block(both, 14, 6, name="e"), 6, 6, name="f")
    return net.finish(net.conv(both, 6, 3, name="head", kernel=1))


def mapped() -> Graph:
    """A fixed size, a vocabulary, batch normalization left in place, ConvTranspose, a Sigmoid, a map of the color."""
    net = Net(vocabulary=True, size=32)
    features = net.conv(net.image, 3, 6, name="a")
    norm = [net.constant(f"norm{i}", np.full(6, value, np.float32)) for i, value in enumerate((1.5, 0.1, 0.2, 0.9))]
    skip = net.add("Relu", net.add("BatchNormalization", features, *norm, name="bn"), name="bn_relu")
    low = net.block(net.add("MaxPool", skip, name="pool", kernel_shape=[2, 2], strides=[2, 2]), 6, 8, name="b")
    spread = net.add("Expand", net.color(4), net.constant("shape", np.array([1, 4, 16, 16])), name="spread")
    low = net.block(net.add("Concat", low, spread, name="with_color", axis=1), 12, 8, name="c")
    weights = net.constant("t.weight", net.rng.normal(0, 0.3, (8, 6, 2, 2)).astype(np.float32))
    high = net.add("ConvTranspose", low, weights, name="transposed", strides=[2, 2])
    both = net.block(net.add("Concat", skip, high, name="concat", axis=1), 12, 6, name="d")
    return net.finish(net.conv(both, 6, 3, name="head"), "Sigmoid")


def feeds(model: Graph, count: int = 4, *, size: int = 32, seed: int = 0) -> list[dict[str, NDArray[Any]]]:
    rng = np.random.default_rng(seed)
    vocabulary = model.graph.input[1].type.tensor_type.elem_type == TensorProto.INT64
    return [
        {
            "image": rng.integers(0, 256, (2, size, size, 3), dtype=np.uint8),
            "color": rng.integers(0, 4, 2) if vocabulary else rng.integers(0, 256, (2, 3), dtype=np.uint8),
        }
        for _ in range(count)
    ]


def session(model: Graph) -> ort.InferenceSession:
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def run(model: Graph, feed: dict[str, NDArray[Any]], output: str = "colored") -> NDArray[Any]:
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    if output != "colored":
        tapped.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
    result: NDArray[Any] = session(tapped).run([output], feed)[0]
    return result


def scorer(model: Graph) -> Callable[[Graph], float]:
    feed = feeds(model, 1, seed=9)[0]
    expected = run(model, feed)
    return lambda candidate: float(
        np.mean([psnr_db(*pair) for pair in zip(run(candidate, feed), expected, strict=True)])
    )


def integer_nodes(model: Graph) -> set[str]:
    """Names of nodes whose output alone QuantizeLinear reads, and whose inputs DequantizeLinear makes."""
    makers = {name: node for node in model.graph.node for name in node.output}
    readers: dict[str, set[str]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    operators = ("Conv", "ConvTranspose", "Relu", "MaxPool", "Resize", "Concat")
    return {
        node.name
        for node in model.graph.node
        if node.op_type in operators
        and readers.get(node.output[0]) == {"QuantizeLinear"}
        and makers.get(node.input[0], node).op_type == "DequantizeLinear"
    }


@pytest.fixture(scope="module")
def model() -> Graph:
    return unet()


@pytest.fixture(scope="module")
def calibration(model: Graph) -> Calibration:
    return calibrate(model, feeds(model))


def constants(model: Graph) -> dict[str, NDArray[Any]]:
    return {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}


def test_convolutions_and_what_lies_between_them_become_integer(model: Graph, calibration: Calibration) -> None:
    ours = {"node_a", "node_b", "node_pool", "node_c", "node_d", "node_resize", "node_concat", "node_e", "node_f"}
    assert integer_nodes(quantize(model, calibration, keep_float=["node_head"])) == ours


def test_a_conv_in_float_keeps_its_surroundings_in_float(model: Graph, calibration: Calibration) -> None:
    last = ["node_e", "node_f", "node_head"]
    assert integer_nodes(quantize(model, calibration, keep_float=last)) == {
        "node_a",
        "node_b",
        "node_pool",
        "node_c",
        "node_d",
    }
    # A pool that reads floats stays one of them; a Concat with integers on one side becomes an integer.
    assert integer_nodes(quantize(model, calibration, keep_float=["node_a", "node_b", *last])) == {"node_c", "node_d"}
    assert "node_concat" in integer_nodes(quantize(model, calibration, keep_float=["node_a", "node_b", "node_head"]))


def test_keeping_all_in_float_gives_the_float_graph(model: Graph, calibration: Calibration) -> None:
    result = quantize(model, calibration, keep_float=quantizable(model))
    assert [node.op_type for node in result.graph.node] == [node.op_type for node in model.graph.node]


def test_weights_are_int8_by_channel_and_activations_uint8(model: Graph, calibration: Calibration) -> None:
    result = quantize(model, calibration, keep_float=["node_head"])
    values = constants(result)
    weights = {name: array for name, array in values.items() if array.dtype == np.int8 and array.ndim == 4}

    assert {name.split(".")[0] for name in weights} == set("abcdef")
    for name, array in weights.items():
        scale = values[name.replace("_quantized", "_scale")]
        assert scale.shape == (len(array),)
        assert np.abs(array).reshape(len(array), -1).max(axis=1).tolist() == [63] * len(array)
    made = [node for node in result.graph.node if node.op_type == "QuantizeLinear" and node.name != "node_levels"]
    assert made
    assert {values[node.input[2]].dtype for node in made} == {np.dtype(np.uint8)}


def test_eight_bits_and_the_general_kernel_can_be_asked_for(model: Graph, calibration: Calibration) -> None:
    options = QuantizationOptions(weight_bits=8, general_kernel_channels=8)
    values = constants(quantize(model, calibration, keep_float=(), options=options))

    assert np.abs(values["a.weight_quantized"].astype(int)).max() == 127
    assert not values["a.weight_zero_point"].any()
    assert (values["d.weight_zero_point"] == -1).all()
    full = quantize(model, calibration, keep_float=(), options=QuantizationOptions(weight_bits=8))
    assert np.array_equal(
        values["d.weight_quantized"].astype(int), constants(full)["d.weight_quantized"].astype(int) - 1
    )


def test_the_uint8_conversions_and_the_colors_path_are_left_alone(model: Graph, calibration: Calibration) -> None:
    result = quantize(model, calibration, keep_float=())
    before = {node.name: node for node in model.graph.node}
    after = {node.name: node for node in result.graph.node}
    for name in ("planes", "dq", "in", "rgb", "row", "map", "tanh", "up", "levels", "colored"):
        now, then = after[f"node_{name}"], before[f"node_{name}"]
        inputs = [each.removesuffix("_DequantizeLinear_Output") for each in now.input]
        assert (now.op_type, inputs, list(now.output)) == (then.op_type, list(then.input), list(then.output))
    assert list(after["node_row"].input) == list(before["node_row"].input)


def test_the_head_alone_reads_integers_if_it_is_quantized(model: Graph, calibration: Calibration) -> None:
    assert "node_head" in integer_nodes(quantize(model, calibration, keep_float=()))


@pytest.mark.parametrize("build", [unet, mapped])
def test_equalized_channels_fill_their_range_and_change_no_image(build: Callable[[], Graph]) -> None:
    model = build()
    scaled = equalize(model, calibrate(model, feeds(model)))
    feed = feeds(model, 1, seed=3)[0]
    off = np.abs(run(scaled, feed).astype(int) - run(model, feed))

    assert off.max() <= 1
    assert np.mean(off > 0) < 1e-3
    name = "e_relu" if build is unet else "d_relu"
    highs = calibrate(scaled, feeds(model)).highs
    assert np.all((highs[name] <= 1.0001) & ((highs[name] > 0.99) | (highs[name] == 0)))
    assert np.ptp(calibrate(model, feeds(model)).highs[name]) > 1


def test_channels_that_reach_an_addition_are_not_scaled(model: Graph, calibration: Calibration) -> None:
    scaled = constants(equalize(model, calibration))
    before = constants(model)
    assert np.array_equal(scaled["c.bias"], before["c.bias"])  # its Relu is added to the color
    assert np.array_equal(scaled["head.bias"], before["head.bias"])
    assert not np.array_equal(scaled["b.bias"], before["b.bias"])  # through a pool and a Concat


def test_int8_stays_close_to_fp32_and_keeps_tensors_by_name(model: Graph, calibration: Calibration) -> None:
    result = quantize(model, calibration, keep_float=["node_head"])
    feed = feeds(model, 1, seed=3)[0]
    scaled = equalize(model, calibration)
    for name in ("b_relu", "d_relu", "concat", "f_relu"):
        expected, got = run(scaled, feed, name), run(result, feed, f"{name}_DequantizeLinear_Output")
        assert np.sqrt(np.mean((expected - got) ** 2)) < 0.1 * np.std(expected), name
    assert scorer(model)(result) > 20


def fragile() -> Graph:
    """``unet``, with an ``e`` that reads a silent channel with weights that leave no step for any other."""
    model = unet()
    for each in model.graph.initializer:
        values = numpy_helper.to_array(each).copy()
        if each.name == "b.bias":
            values[0] = -1000
        elif each.name == "e.weight":
            values[:, 0] = 1e6
        each.CopyFrom(numpy_helper.from_array(values, each.name))
    return model


def test_a_silent_channel_is_not_blown_up() -> None:
    model = fragile()
    scaled = constants(equalize(model, calibrate(model, feeds(model))))
    factors = constants(model)["b.bias"] / scaled["b.bias"]
    assert factors[0] == pytest.approx(1e-3 * factors.max(), rel=1e-3)


def test_a_resize_that_invents_values_lets_no_scale_through(model: Graph, calibration: Calibration) -> None:
    cropping = onnx.ModelProto()
    cropping.CopyFrom(model)
    node = next(node for node in cropping.graph.node if node.op_type == "Resize")
    before = constants(model)["d.bias"]
    assert not np.array_equal(constants(equalize(cropping, calibration))["d.bias"], before)

    node.attribute.append(helper.make_attribute("coordinate_transformation_mode", "tf_crop_and_resize"))
    assert np.array_equal(constants(equalize(cropping, calibration))["d.bias"], before)


def lopsided() -> Graph:
    """``unet``, one channel of ``e`` a thousand times larger, and read with a thousandth of the weight."""
    model = unet()
    for each in model.graph.initializer:
        values = numpy_helper.to_array(each).copy()
        if each.name in ("e.weight", "e.bias"):
            values[0] *= 1000
        elif each.name == "f.weight":
            values[:, 0] /= 1000
        each.CopyFrom(numpy_helper.from_array(values, each.name))
    return model


def test_equalizing_makes_up_for_channels_of_unlike_range(monkeypatch: pytest.MonkeyPatch) -> None:
    model = lopsided()
    calibration = calibrate(model, feeds(model))
    score = scorer(model)
    with_it = score(quantize(model, calibration, keep_float=["node_head"]))
    monkeypatch.setattr(ConvGraph, "groups", lambda self, calibration: iter(()))
    assert with_it > score(quantize(model, calibration, keep_float=["node_head"])) + 5


@pytest.mark.parametrize("build", [unet, mapped])
def test_any_graph_of_the_kind_is_quantized_whole_and_runs_on_other_sizes(build: Callable[[], Graph]) -> None:
    model = build()
    result = quantize(model, calibrate(model, feeds(model)), keep_float=[quantizable(model)[-1]])

    onnx.checker.check_model(result, full_check=True)
    assert not any(each.data_location == TensorProto.EXTERNAL for each in result.graph.initializer)
    assert [value.SerializeToString() for value in (*result.graph.input, *result.graph.output)] == [
        value.SerializeToString() for value in (*model.graph.input, *model.graph.output)
    ]
    for size in (32,) if build is mapped else (16, 64):
        for count in (1, 3):
            feed = {name: np.concatenate([value] * 2)[:count] for name, value in feeds(model, 1, size=size)[0].items()}
            assert run(result, feed).shape == (count, size, size, 3)
    assert scorer(model)(result) > 20


@pytest.mark.slow
def test_an_exported_checkpoint_is_quantized(tiny_checkpoint: Path) -> None:
    model = simplify(trace(load_source(tiny_checkpoint)).model)
    names = quantizable(model)
    result = quantize(model, calibrate(model, feeds(model)), keep_float=[names[0], names[-1]])

    assert len(names) == 11
    assert len([name for name in names if name in integer_nodes(result)]) == 9
    assert scorer(model)(result) > 20


def test_the_given_graph_is_left_alone_and_so_is_what_the_file_says(model: Graph, calibration: Calibration) -> None:
    noted = onnx.ModelProto()
    noted.CopyFrom(model)
    helper.set_model_props(noted, {"key": "value"})
    before = noted.SerializeToString()
    result = quantize(noted, calibration, keep_float=())

    assert noted.SerializeToString() == before
    assert {each.key: each.value for each in result.metadata_props} == {"key": "value"}
    assert (result.producer_name, len(result.graph.value_info)) == ("us", 0)


def fingerprint() -> str:
    """Of everything from calibration to the bytes."""
    model = unet()
    result = quantize(model, calibrate(model, feeds(model)), keep_float=["node_a", "node_head"])
    return hashlib.sha256(result.SerializeToString(deterministic=True)).hexdigest()


@pytest.mark.slow
def test_the_bytes_are_the_same_in_every_call_and_process() -> None:
    script = "import runpy, sys; print(runpy.run_path(sys.argv[1])['fingerprint']())"
    other = subprocess.run(
        [sys.executable, "-c", script, __file__],
        env=os.environ | {"PYTHONHASHSEED": "12345", "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert fingerprint() == fingerprint() == other.stdout.strip()
    assert other.stderr == ""  # nor does the library say anything


def test_unknown_names_and_missing_feeds_are_the_callers_fault(model: Graph, calibration: Calibration) -> None:
    with pytest.raises(ValueError, match="no such Conv: nobody"):
        quantize(model, calibration, keep_float=["nobody"])
    with pytest.raises(ValueError, match="at least one feed"):
        calibrate(model, [])


def test_a_graph_that_does_not_run_or_hides_its_names_is_refused_in_one_line(model: Graph) -> None:
    wrong = feeds(model, 1)[0] | {"color": np.zeros((2, 4), np.uint8)}
    with pytest.raises(ModelError, match="cannot be calibrated") as caught:
        calibrate(model, [wrong])
    assert "\n" not in str(caught.value)
    nameless = onnx.ModelProto()
    nameless.CopyFrom(model)
    for node in nameless.graph.node:
        node.name = ""
    with pytest.raises(ModelError, match="told apart by name"):
        quantizable(nameless)


@given(arrays.arrays(np.float32, st.integers(1, 20), elements=st.floats(0, 2.0**100, width=32)))
@settings(max_examples=200)
def test_coarse_ranges_cover_and_hardly_exceed(values: NDArray[np.float32]) -> None:
    rounded = coarse(values)
    assert np.all(rounded >= values)
    assert np.all(rounded <= values.astype(np.float64) * (1 + 1 / 128))
    assert np.array_equal(coarse(rounded), rounded)
