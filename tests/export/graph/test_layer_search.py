"""Which layers stay in float, and what each costs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import helper

from polyexport.errors import ParityError
from polyexport.export.graph import layer_noise
from polyexport.export.graph.equalization import Calibration
from polyexport.export.graph.layer_noise import layer_sensitivity
from polyexport.export.graph.layer_search import MAX_SCORES, search
from polyexport.export.graph.quantization import calibrate, measured, quantizable, quantize, with_names
from polyexport.imaging.psnr import psnr_db

LAYERS = 12
"""Convolutions of the network below."""


def chain(*, loud: int = 5) -> onnx.ModelProto:
    """Residual blocks without a norm; one layer reads a silent channel with weights that leave no step for others."""
    rng = np.random.default_rng(3)
    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("DequantizeLinear", ["planes", "step", "zero"], ["x"]),
    ]
    constants: dict[str, NDArray[Any]] = {"step": np.array(1 / 255, np.float32), "zero": np.array(0, np.uint8)}
    value = "x"
    for number in range(LAYERS):
        first, last = number == 0, number == LAYERS - 1
        cin, cout = 3 if first else 8, 3 if last else 8
        weight = rng.normal(0, 0.6 / np.sqrt(cin * 9), (cout, cin, 3, 3)).astype(np.float32)
        if number < loud:
            weight[0] = 0
        elif number == loud:
            weight[:, 0] = 30
        constants[f"w{number}"], constants[f"b{number}"] = weight, np.zeros(cout, np.float32)
        nodes.append(
            helper.make_node("Conv", [value, f"w{number}", f"b{number}"], [f"c{number}"], name=f"conv_{number}",
                             pads=[1, 1, 1, 1])
        )  # fmt: skip
        if last:
            value = f"c{number}"
        elif first:
            nodes.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"], name=f"relu_{number}"))
            value = f"r{number}"
        else:
            nodes.append(
                helper.make_node("LeakyRelu", [f"c{number}"], [f"a{number}"], name=f"leaky_{number}", alpha=0.2)
            )
            nodes.append(helper.make_node("Add", [f"a{number}", value], [f"s{number}"], name=f"sum_{number}"))
            value = f"s{number}"
    nodes += [
        helper.make_node("Sigmoid", [value], ["y"]),
        helper.make_node("QuantizeLinear", ["y", "step", "zero"], ["levels"]),
        helper.make_node("Transpose", ["levels"], ["result"], perm=[0, 2, 3, 1]),
    ]
    shape: list[str | int | None] = ["batch", "height", "width", 3]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("result", onnx.TensorProto.UINT8, shape)],
        [onnx.numpy_helper.from_array(constant, name) for name, constant in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def run(model: onnx.ModelProto, feed: dict[str, NDArray[np.uint8]]) -> NDArray[np.uint8]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    result: NDArray[np.uint8] = session.run(["result"], feed)[0]
    return result


@pytest.fixture(scope="module")
def feeds() -> list[dict[str, NDArray[np.uint8]]]:
    rng = np.random.default_rng(1)
    return [{"image": rng.integers(0, 256, (1, 24, 24, 3), np.uint8)} for _ in range(3)]


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return chain()


@pytest.fixture(scope="module")
def calibration(model: onnx.ModelProto, feeds: list[dict[str, NDArray[np.uint8]]]) -> Calibration:
    return calibrate(model, feeds)


@pytest.fixture(scope="module")
def score(model: onnx.ModelProto, feeds: list[dict[str, NDArray[np.uint8]]]) -> Callable[[onnx.ModelProto], float]:
    true = [run(model, feed) for feed in feeds]
    return lambda other: float(np.mean([psnr_db(run(other, feed), one) for feed, one in zip(feeds, true, strict=True)]))


@pytest.fixture(scope="module")
def costs(
    model: onnx.ModelProto, calibration: Calibration, feeds: list[dict[str, NDArray[np.uint8]]]
) -> dict[str, float]:
    return layer_sensitivity(model, calibration, quantizable(model), feeds, "result")


def test_every_layer_has_the_cost_of_a_graph_in_which_it_alone_is_quantized(
    model: onnx.ModelProto,
    calibration: Calibration,
    feeds: list[dict[str, NDArray[np.uint8]]],
    costs: dict[str, float],
) -> None:
    names = quantizable(model)
    assert list(costs) == list(names)
    for name in names[::4]:
        alone = quantize(model, calibration, keep_float=set(names) - {name})
        error = np.mean([np.square(run(alone, f).astype(float) - run(model, f)).mean() for f in feeds])
        assert costs[name] == pytest.approx(error, rel=0.3, abs=0.02)
    assert max(costs, key=lambda name: costs[name]) == "conv_5"


def test_layers_of_a_long_network_are_measured_in_groups(
    model: onnx.ModelProto,
    calibration: Calibration,
    feeds: list[dict[str, NDArray[np.uint8]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(layer_noise, "MAX_RUNS", 4)
    names = quantizable(model)
    found = layer_sensitivity(model, calibration, names, feeds[:1], "result")
    assert len(set(found.values())) == 4
    assert max(found, key=lambda name: found[name]) in ("conv_3", "conv_4", "conv_5")


def test_search_takes_what_is_good_enough_at_once(
    model: onnx.ModelProto,
    calibration: Calibration,
    score: Callable[[onnx.ModelProto], float],
    costs: dict[str, float],
) -> None:
    result = search(model, calibration, score, costs, floor=5, start=["conv_0"])
    assert (result.kept_float, len(result.log)) == (("conv_0",), 1)


def test_search_gives_up_the_layer_that_costs_the_most(
    model: onnx.ModelProto,
    calibration: Calibration,
    score: Callable[[onnx.ModelProto], float],
    costs: dict[str, float],
) -> None:
    poor = score(quantize(model, calibration, keep_float=["conv_0"]))
    without = score(quantize(model, calibration, keep_float=["conv_0", "conv_5"]))
    assert without > poor + 2

    result = search(model, calibration, score, costs, floor=without - 0.1, start=["conv_0"])
    assert result.kept_float == ("conv_0", "conv_5")
    assert score(result.model) == pytest.approx(without)
    assert len(result.log) <= 4


def test_search_says_how_far_it_came_and_ends(
    model: onnx.ModelProto, calibration: Calibration, costs: dict[str, float]
) -> None:
    calls: list[float] = []

    def worse(_: onnx.ModelProto) -> float:
        calls.append(20.0 - len(calls))
        return calls[-1]

    with pytest.raises(ParityError, match=r"scores 20\.00 at best, expected at least 500\.00") as caught:
        search(model, calibration, worse, costs, floor=500, start=[])
    assert caught.value.remedy
    assert len(calls) <= MAX_SCORES


def test_a_sum_that_goes_on_is_not_rounded(model: onnx.ModelProto, calibration: Calibration) -> None:
    quantized = quantize(model, calibration, keep_float=[])
    sums = [node for node in quantized.graph.node if node.op_type == "Add"]
    assert len(sums) == LAYERS - 2
    # The first sum adds what a Relu made in integers; all others add to a sum, which stays a float.
    assert [node.input[1] for node in sums[1:]] == [node.output[0] for node in sums[:-1]]


def test_a_layer_without_ranges_stays_in_float(model: onnx.ModelProto, calibration: Calibration) -> None:
    assert measured(model, calibration) == quantizable(model)
    highs = {name: high for name, high in calibration.highs.items() if name != "c3"}
    fewer = measured(model, Calibration(lows=calibration.lows, highs=highs))
    assert fewer == tuple(name for name in quantizable(model) if name != "conv_3")


def test_nodes_without_a_name_of_their_own_get_one(model: onnx.ModelProto) -> None:
    nameless = onnx.ModelProto()
    nameless.CopyFrom(model)
    for node in nameless.graph.node[3:]:
        node.name = "" if node.op_type == "Conv" else "same"
    names = [node.name for node in with_names(nameless).graph.node]
    assert len(set(names)) == len(names)
    assert "" not in names
    assert [node.name for node in nameless.graph.node].count("") == LAYERS - 1 + 2  # the given graph is left alone
    assert with_names(model) is not model
    assert with_names(with_names(model)) is not None
