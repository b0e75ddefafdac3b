"""The proof must fail when the graph is wrong: each test breaks it in one way that has really happened to people."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from polyexport.data.drawings import draw
from polyexport.errors import ParityError
from polyexport.export.graph.trace import simplify
from polyexport.export.precision import PRECISIONS
from polyexport.export.precision.precision import Tolerance
from polyexport.export.proof.parity import (
    MAX_IMAGES,
    Candidate,
    ParityOptions,
    Reference,
    compare,
)
from polyexport.export.proof.proof import Proof
from polyexport.export.source.load import load_source
from polyexport.export.source.source import Source
from polyexport.model.certificate import StageParity

QUICK = ParityOptions(sizes=((16, 16), (32, 16)), batches=(1, 2, 5), images=6)


@pytest.fixture(scope="module")
def source(tiny_checkpoint: Path) -> Source:
    return load_source(tiny_checkpoint)


@pytest.fixture(scope="module")
def proof(source: Source) -> Proof:
    return Proof.of(source, parity=QUICK)


@pytest.fixture(scope="module")
def graph(proof: Proof) -> onnx.ModelProto:
    return simplify(proof.traced.model)


def broken(graph: onnx.ModelProto, change: Callable[[onnx.GraphProto], None]) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    change(model.graph)
    return model


def set_initializer(proto: onnx.GraphProto, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    for initializer in proto.initializer:
        if initializer.name == name:
            value = change(numpy_helper.to_array(initializer).copy())
            initializer.CopyFrom(numpy_helper.from_array(value, name))
            return
    raise AssertionError(name)


def first(graph: onnx.ModelProto, operator: str) -> onnx.NodeProto:
    found: onnx.NodeProto = next(node for node in graph.graph.node if node.op_type == operator)
    return found


def refused(proof: Proof, model: onnx.ModelProto) -> str:
    with pytest.raises(ParityError) as caught:
        proof.check(proof.candidate("simplified", model))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_export_equals_the_module(proof: Proof, graph: onnx.ModelProto) -> None:
    stage = proof.check(proof.candidate("simplified", graph))

    assert stage.max_abs_diff <= 1e-4
    assert stage.uint8_max_diff <= 1
    assert stage.uint8_equal >= 0.999
    assert stage.nodes == len(graph.graph.node)
    # At 32x16 the 24 pairs that six images and five colors are cut down to, in batches of 1, 2, 5, 1, 2, 5, 1, 2, 5;
    # at 16x16 each image once, in batches of 1, 2 and 5.
    assert stage.values == (24 * 32 * 16 + 8 * 16 * 16) * 3


def test_own_images_are_resized_to_every_size_and_the_first_ones_taken(source: Source) -> None:
    images = [draw(np.random.default_rng(i), 40).image for i in range(MAX_IMAGES + 1)]
    reference = Reference.of(source, QUICK, images)
    assert reference.images == MAX_IMAGES
    assert {size: values.shape for size, values in reference.outputs.items()} == {
        (16, 16): (MAX_IMAGES, 16, 16, 3),
        (32, 16): (24, 32, 16, 3),
    }


def test_sizes_follow_the_network_and_one_of_them_is_no_square(source: Source) -> None:
    assert ParityOptions().sizes_of(source) == ((16, 16), (32, 32), (64, 32))


def test_one_flipped_weight_is_caught_and_its_node_named(proof: Proof, graph: onnx.ModelProto) -> None:
    node = first(graph, "Conv")

    def flip(values: np.ndarray) -> np.ndarray:
        values.flat[0] = -values.flat[0] + 0.5
        return values

    message = refused(proof, broken(graph, lambda g: set_initializer(g, node.input[1], flip)))
    assert "max abs diff" in message
    assert f"first wrong node: Conv {node.name} (tensor {node.output[0]}, submodule encoder.0.1)" in message


def test_a_flipped_weight_in_the_middle_is_blamed_on_its_own_node(proof: Proof, graph: onnx.ModelProto) -> None:
    node = [node for node in graph.graph.node if node.op_type == "Conv"][6]

    def flip(values: np.ndarray) -> np.ndarray:
        values[0, 0] += 1
        return values

    assert f"Conv {node.name} " in refused(proof, broken(graph, lambda g: set_initializer(g, node.input[1], flip)))


def test_a_changed_normalization_is_caught_and_its_node_named(proof: Proof, graph: onnx.ModelProto) -> None:
    node = first(graph, "DequantizeLinear")
    message = refused(
        proof,
        broken(graph, lambda g: set_initializer(g, node.input[1], lambda s: (s * (127.5 / 127)).astype(np.float32))),
    )
    assert f"first wrong node: DequantizeLinear {node.name}" in message


def test_red_and_blue_exchanged_is_caught(proof: Proof, graph: onnx.ModelProto) -> None:
    weight = first(graph, "Conv").input[1]
    refused(proof, broken(graph, lambda g: set_initializer(g, weight, lambda w: np.ascontiguousarray(w[:, ::-1]))))


def test_height_and_width_exchanged_is_caught(proof: Proof, graph: onnx.ModelProto) -> None:
    """On squares it only turns the picture; the sizes of a proof have one that is not square."""

    def turn(proto: onnx.GraphProto) -> None:
        for node in proto.node:
            if node.op_type == "Transpose":
                order = {(0, 3, 1, 2): [0, 3, 2, 1], (0, 2, 3, 1): [0, 3, 2, 1]}[tuple(node.attribute[0].ints)]
                node.attribute[0].ints[:] = order

    refused(proof, broken(graph, turn))


def test_a_rounding_of_half_a_level_is_caught_in_the_8_bit_output(proof: Proof, graph: onnx.ModelProto) -> None:
    """The float tensor is right; only what users get is wrong."""
    candidate = proof.candidate("simplified", graph)
    quantize = first(graph, "QuantizeLinear")

    def shift(proto: onnx.GraphProto) -> None:
        node = next(node for node in proto.node if node.output[0] == quantize.input[0])
        (place,) = [i for i, name in enumerate(node.input) if name != candidate.float_output]
        (constant,) = [one for one in proto.initializer if one.name == node.input[place]]
        half_a_level = np.float32(np.sign(numpy_helper.to_array(constant)) * 0.5 / 127.5)
        moved = numpy_helper.from_array(numpy_helper.to_array(constant) + half_a_level, "moved")
        proto.initializer.append(moved)
        node.input[place] = "moved"

    message = refused(proof, broken(graph, shift))
    assert "8-bit values equal" in message
    assert "max abs diff" not in message.split(";")[0]
    assert (
        f"first wrong node: {next(n for n in graph.graph.node if n.output[0] == quantize.input[0]).op_type} " in message
    )


def test_nan_is_never_equal(proof: Proof, graph: onnx.ModelProto) -> None:
    bias = first(graph, "Conv").input[2]
    message = refused(proof, broken(graph, lambda g: set_initializer(g, bias, lambda b: np.full_like(b, np.nan))))
    assert "inf" in message
    assert "NaN" in message


def test_every_fault_is_named(proof: Proof, graph: onnx.ModelProto) -> None:
    scale = first(graph, "DequantizeLinear").input[1]
    message = refused(proof, broken(graph, lambda g: set_initializer(g, scale, lambda s: (s / 2).astype(np.float32))))
    for fault in ("max abs diff", "8-bit difference", "8-bit values equal", "PSNR"):
        assert fault in message


def test_a_batch_that_is_no_longer_dynamic_is_caught(proof: Proof, graph: onnx.ModelProto) -> None:
    def fix(proto: onnx.GraphProto) -> None:
        for value in proto.input:
            value.type.tensor_type.shape.dim[0].dim_value = 2

    assert "fails on batch 1" in refused(proof, broken(graph, fix))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_no_tolerance_takes_nan(precision: str) -> None:
    stage = StageParity(
        name="x", nodes=1, max_abs_diff=np.inf, uint8_max_diff=0, uint8_equal=1.0, psnr_db=100.0, values=3
    )
    assert PRECISIONS[precision].tolerance.faults(stage)


def test_a_stage_must_have_some_signal() -> None:
    tolerance = Tolerance(max_abs_diff=1, uint8_max_diff=255, uint8_equal=0, psnr_db=30)
    stage = StageParity(
        name="x", nodes=1, max_abs_diff=0.5, uint8_max_diff=9, uint8_equal=0.5, psnr_db=float("nan"), values=3
    )
    assert tolerance.faults(stage) == ["PSNR nan dB < 30.0 dB"]


def test_labels_may_flip_where_classes_are_nearly_as_likely() -> None:
    stage = StageParity(
        name="x", nodes=1, max_abs_diff=2.0, uint8_max_diff=255, uint8_equal=0.9995, psnr_db=30.0, values=9999
    )
    tolerance = PRECISIONS["fp32"].tolerance
    assert tolerance.faults(stage, "labels") == []
    assert len(tolerance.faults(stage)) == 3
    assert tolerance.faults(dataclasses.replace(stage, uint8_equal=0.998), "labels") == [
        "99.8000% of labels equal < 99.9000%"
    ]


@pytest.mark.slow
def test_the_network_runs_once_for_every_pair_that_is_compared(source: Source, graph: onnx.ModelProto) -> None:
    calls: list[int] = []
    # Not len(): tracing would take its result for a constant.
    handle = source.module.register_forward_hook(lambda module, inputs, output: calls.append(inputs[0].shape[0]))
    try:
        proof = Proof.of(dataclasses.replace(source), parity=QUICK)
        traced = len(calls)
        pairs = sum(map(len, proof.reference.examples.values()))
        proof.check(proof.candidate("raw", proof.traced.model), least=True)
        proof.check(proof.candidate("simplified", graph))
    finally:
        handle.remove()
    assert pairs == 24 + 6
    assert calls[-pairs:] == [1] * pairs
    assert len(calls) == traced
    assert traced - pairs <= 2  # tracing runs it on tensors without values


def test_a_stage_on_the_way_is_compared_on_one_example_of_every_size(proof: Proof, graph: onnx.ModelProto) -> None:
    stage = proof.check(proof.candidate("raw", graph), least=True)
    assert stage.values == (16 * 16 + 32 * 16) * 3


def test_a_graph_that_makes_another_shape_is_caught(proof: Proof, graph: onnx.ModelProto) -> None:
    candidate = proof.candidate("simplified", graph)

    def untransposed(proto: onnx.GraphProto) -> None:
        end = next(node for node in proto.node if node.output[0] == "colored")
        end.attribute[0].ints[:] = [0, 1, 2, 3]
        del proto.output[0].type.tensor_type.shape.dim[1:]
        proto.output[0].type.tensor_type.ClearField("shape")

    changed = Candidate(
        name="x",
        model=broken(graph, untransposed),
        float_output=candidate.float_output,
        output=candidate.output,
        conditions=candidate.conditions,
    )
    with pytest.raises(ParityError, match="makes .* expected"):
        compare(proof.reference, changed)
