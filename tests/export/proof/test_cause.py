"""Reduced precisions: what quantization does to every tensor is not a cause, what breaks one of them is."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from polyexport.export.graph.half import half_graph
from polyexport.export.graph.quantization import calibrate, quantizable, quantize
from polyexport.export.graph.trace import simplify
from polyexport.export.precision import PRECISIONS
from polyexport.export.proof.cause import find_cause, program_values
from polyexport.export.proof.examples import stacked
from polyexport.export.proof.fidelity import calibration_feeds
from polyexport.export.proof.parity import ParityOptions
from polyexport.export.proof.proof import Proof
from polyexport.export.source.load import load_source
from polyexport.model.contract import COLORED


@pytest.fixture(scope="module")
def proof(tiny_checkpoint: Path) -> Proof:
    return Proof.of(load_source(tiny_checkpoint), parity=ParityOptions(sizes=((32, 32),), images=2))


@pytest.fixture(scope="module")
def fp32(proof: Proof) -> onnx.ModelProto:
    return simplify(proof.traced.model)


@pytest.fixture(scope="module")
def int8(proof: Proof, fp32: onnx.ModelProto) -> onnx.ModelProto:
    candidate = proof.candidate("simplified", fp32)
    calibration = calibrate(fp32, calibration_feeds(proof.source, candidate))
    names = quantizable(fp32)
    return quantize(fp32, calibration, keep_float=(names[0], names[-1]))


def cause(proof: Proof, model: onnx.ModelProto, precision: str) -> str:
    candidate = proof.candidate(precision, model)
    feeds = candidate.feeds(*stacked(proof.reference.examples[32, 32][:1]))
    values = program_values(proof.traced.program, candidate.output, *feeds.values())
    tolerance = PRECISIONS[precision].node_tolerance
    assert tolerance is not None
    return str(find_cause(candidate, values, feeds, tolerance))


def test_sound_graphs_have_no_cause(proof: Proof, fp32: onnx.ModelProto, int8: onnx.ModelProto) -> None:
    assert cause(proof, half_graph(fp32), "fp16") == "None"
    assert cause(proof, int8, "int8") == "None"


def test_the_program_has_a_value_for_nearly_every_tensor(proof: Proof, fp32: onnx.ModelProto) -> None:
    images, (colors,) = stacked(proof.reference.examples[32, 32][:1])
    values = program_values(proof.traced.program, COLORED, images, colors)
    named = [name for node in fp32.graph.node for name in node.output if name in values]
    assert len(named) >= 0.9 * len(fp32.graph.node)


def test_an_overflow_in_fp16_is_found_where_it_happens(proof: Proof, fp32: onnx.ModelProto) -> None:
    half = half_graph(fp32)
    convolution = [node for node in half.graph.node if node.op_type == "Conv"][3]
    (bias,) = [one for one in half.graph.initializer if one.name == convolution.input[2]]
    bias.CopyFrom(numpy_helper.from_array(np.full(bias.dims, np.inf, np.float16), bias.name))
    assert f"Conv {convolution.name} " in cause(proof, half, "fp16")
    assert "NaN or infinite" in cause(proof, half, "fp16")


def test_a_wrong_zero_point_in_int8_is_found_where_it_happens(proof: Proof, int8: onnx.ModelProto) -> None:
    broken = onnx.ModelProto()
    broken.CopyFrom(int8)
    quantized = [node for node in broken.graph.node if node.op_type == "QuantizeLinear"]
    node = next(one for one in quantized if one.input[0].startswith("relu"))
    (zero,) = [one for one in broken.graph.initializer if one.name == node.input[2]]
    zero.CopyFrom(numpy_helper.from_array(np.array(200, np.uint8), zero.name))
    found = cause(proof, broken, "int8")
    assert found != "None"
    assert node.input[0] in found or node.output[0] in found
