from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto, helper
from onnx_files import FILES, constant, picture, save_graph

from polyexport.errors import ModelError
from polyexport.export.graph.foreign import DOMAIN, PREFIX
from polyexport.export.graph.inlining import at_opset, inline_foreign, opset_of
from polyexport.export.graph.trace import OPSET, trace
from polyexport.export.source.load import load_source

NOISE = np.random.default_rng(0).random((1, 3, 12, 16), np.float32)


def ran(model: ModelProto) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": NOISE})[0])


def test_an_old_upsample_keeps_its_pixels(tmp_path: Path) -> None:
    old = onnx.load(FILES["upsample"](tmp_path / "a.onnx"))
    converted = at_opset(old, OPSET)

    assert opset_of(converted) == OPSET
    assert np.abs(ran(old) - ran(converted)).max() < 1e-6


def test_a_later_opset_is_left_as_it_is(tmp_path: Path) -> None:
    newer = onnx.load(FILES["newer"](tmp_path / "a.onnx"))
    assert at_opset(newer, OPSET) is newer


def test_an_operator_that_no_converter_knows_is_refused(tmp_path: Path) -> None:
    scaled = helper.make_node("Scale", ["x"], ["y"], scale=2.0)
    with pytest.raises(ModelError, match=f"cannot be converted from opset 7 to {OPSET}"):
        at_opset(onnx.load(save_graph(tmp_path / "a.onnx", [scaled], [picture("x")], [picture("y")], opset=7)), OPSET)


def test_a_graph_without_foreign_parts_is_returned_itself(relu_model: ModelProto) -> None:
    assert inline_foreign(relu_model) is relu_model


def test_only_what_the_output_needs_is_written_under_names_of_its_own(tmp_path: Path) -> None:
    model = trace(load_source(FILES["two_outputs"](tmp_path / "a.onnx"))).model

    operators = [node.op_type for node in model.graph.node]
    assert operators.count("Conv") == 1
    assert "GlobalAveragePool" not in operators
    assert [each.name for each in model.graph.initializer if each.name.startswith(PREFIX)] == [f"{PREFIX}W"]
    assert DOMAIN not in {each.domain for each in model.opset_import}
    assert {node.domain for node in model.graph.node} == {""}


def test_names_that_are_taken_get_a_number_and_a_result_may_be_a_constant(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "zero"], ["image"]),
        helper.make_node("Add", ["image", "zero"], [f"{PREFIX}image"]),
        helper.make_node("Identity", [f"{PREFIX}image"], ["y"]),
    ]
    file = save_graph(tmp_path / "a.onnx", nodes, [picture("x")], [picture("y")], [constant("zero", 0)])
    model = trace(load_source(file, value_range=(0.0, 1.0))).model

    made = [name for node in model.graph.node for name in node.output]
    assert len(set(made)) == len(made)
    onnx.checker.check_model(model, full_check=True)


def test_an_image_that_is_handed_on_is_an_identity(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["unused"])]
    file = save_graph(tmp_path / "a.onnx", nodes, [picture("x")], [picture("unused"), picture("x")])
    model = trace(load_source(file, output_key="x")).model

    onnx.checker.check_model(model, full_check=True)
    assert "Relu" not in {node.op_type for node in model.graph.node}
