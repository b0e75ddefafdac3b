from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_files import FILES, keras, picture, save_graph, weights

from polyexport.errors import ModelError
from polyexport.export.source.onnx_file import read_onnx_file

RELU = helper.make_node("Relu", ["x"], ["y"])


def external(path: Path) -> None:
    convolution = helper.make_node("Conv", ["x", "W"], ["y"], pads=[1, 1, 1, 1])
    save_graph(path, [convolution], [picture("x")], [picture("y")], [weights("W", 3, 3, 3, 3)])
    onnx.save(onnx.load(path), path, save_as_external_data=True, size_threshold=0, location="weights.bin")


def branches(path: Path) -> None:
    parts = [
        helper.make_graph([helper.make_node(name, ["x"], [name])], name, [], [picture(name)])
        for name in ("Identity", "Neg")
    ]
    node = helper.make_node("If", ["c"], ["y"], name="choice", then_branch=parts[0], else_branch=parts[1])
    save_graph(path, [node], [picture("x")], [picture("y")], [numpy_helper.from_array(np.array(True), "c")])


def branches_in_a_function(path: Path) -> None:
    part = helper.make_graph([helper.make_node("Identity", ["a"], ["i"])], "g", [], [picture("i")])
    nodes = [helper.make_node("If", ["c"], ["b"], then_branch=part, else_branch=part)]
    function = helper.make_function("my", "F", ["a", "c"], ["b"], nodes, [helper.make_opsetid("", 17)])
    node = helper.make_node("F", ["x", "c"], ["y"], domain="my")
    save_graph(
        path, [node], [picture("x")], [picture("y")], [numpy_helper.from_array(np.array(True), "c")],
        functions=[function], domains=["my"],
    )  # fmt: skip


def other_domain(path: Path) -> None:
    node = helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft", name="act")
    save_graph(path, [node], [picture("x")], [picture("y")], domains=["com.microsoft"])


def doubling_functions(path: Path) -> None:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my", 1)]
    functions = [helper.make_function("my", "F0", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], opsets)]
    for level in range(1, 40):
        called = f"F{level - 1}"
        nodes = [
            helper.make_node(called, ["a"], ["t"], domain="my"),
            helper.make_node(called, ["t"], ["b"], domain="my"),
        ]
        functions.append(helper.make_function("my", f"F{level}", ["a"], ["b"], nodes, opsets))
    node = helper.make_node("F39", ["x"], ["y"], domain="my")
    save_graph(path, [node], [picture("x")], [picture("y")], functions=functions, domains=["my"])


def endless_function(path: Path) -> None:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my", 1)]
    inner = [helper.make_node("F", ["a"], ["b"], domain="my")]
    function = helper.make_function("my", "F", ["a"], ["b"], inner, opsets)
    node = helper.make_node("F", ["x"], ["y"], domain="my")
    save_graph(path, [node], [picture("x")], [picture("y")], functions=[function], domains=["my"])


def twice_the_same_name(path: Path) -> None:
    save_graph(path, [RELU, RELU], [picture("x")], [picture("y")])


def damaged(path: Path) -> None:
    path.write_bytes(keras(path).read_bytes()[:-100])


def text(path: Path) -> None:
    path.write_text("weights go here")


def sparse(path: Path) -> None:
    model = onnx.load(save_graph(path, [RELU], [picture("x")], [picture("y")]))
    values = helper.make_tensor("s", TensorProto.FLOAT, [1], [1.0])
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))
    onnx.save(model, path)


def doubling_constants(path: Path) -> None:
    """Forty Concats, which are computed while the file is loaded."""
    nodes = [helper.make_node("Concat", [f"c{i}", f"c{i}"], [f"c{i + 1}"], axis=0) for i in range(40)]
    nodes += [
        helper.make_node("ReduceMax", ["c40"], ["most"], keepdims=0),
        helper.make_node("Add", ["x", "most"], ["y"]),
    ]
    first = numpy_helper.from_array(np.zeros(1024, np.float32), "c0")
    save_graph(path, nodes, [picture("x")], [picture("y")], [first])


def gigabytes(path: Path) -> None:
    """An image of 64x64 pixels that is repeated to 3 GB."""
    counts = numpy_helper.from_array(np.array([1, 1, 256, 256], np.int64), "counts")
    nodes = [
        helper.make_node("Tile", ["x", "counts"], ["large"]),
        helper.make_node("ReduceMax", ["large"], ["most"], keepdims=0),
        helper.make_node("Add", ["x", "most"], ["y"]),
    ]
    save_graph(path, nodes, [picture("x")], [picture("y")], [counts])


REFUSED: dict[Callable[[Path], None], str] = {
    doubling_constants: "ONNX Runtime cannot load .* its first check took more than [0-9]+ MiB of memory",
    gigabytes: "ONNX Runtime cannot load .* its first check took more than [0-9]+ MiB of memory",
    external: r"keeps the data of W in another file \(weights.bin\), which is never opened",
    branches: r"has a node with a graph of its own \(If choice\), which may run without end",
    branches_in_a_function: r"has a node with a graph of its own \(If\)",
    other_domain: r"has an operator of the domain com.microsoft \(Gelu act\), expected ONNX's own",
    doubling_functions: "has functions that call each other, very many nodes in all",
    endless_function: "has functions that call each other, .* or without end",
    twice_the_same_name: "is not valid ONNX",
    damaged: "is not an ONNX file, or damaged",
    text: "is not an ONNX file, or damaged",
    sparse: "has sparse weights",
}


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: make.__name__)
def test_what_is_not_to_be_trusted_is_refused(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "a.onnx")
    with pytest.raises(ModelError, match=REFUSED[make]) as caught:
        read_onnx_file(tmp_path / "a.onnx")
    assert "\n" not in str(caught.value)
    assert caught.value.remedy


def test_a_missing_file_and_a_model_of_ours_are_refused(tmp_path: Path, tiny_model_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        read_onnx_file(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="is already a model of polyexport"):
        read_onnx_file(tiny_model_path)


def test_weights_among_the_inputs_are_not_asked_for(tmp_path: Path) -> None:
    file = read_onnx_file(FILES["two_outputs"](tmp_path / "a.onnx"))
    assert [each.name for each in file.inputs] == ["x"]
    assert [str(each) for each in file.outputs] == ["features float32 [?, 3, 1, 1]", "y float32 [?, 3, ?, ?]"]


def test_a_float16_file_gets_a_graph_in_float32_and_keeps_a_session_of_its_own(tmp_path: Path) -> None:
    file = read_onnx_file(FILES["half"](tmp_path / "a.onnx"))
    assert file.inputs[0].dtype == "float32"
    assert {each.data_type for each in file.model.graph.initializer} == {TensorProto.FLOAT}
    assert file.float16_session is not None
    assert file.float16_session.get_inputs()[0].type == "tensor(float16)"


@settings(max_examples=30, deadline=None)
@given(cut=st.integers(0, 2000), place=st.integers(0, 2000), byte=st.integers(0, 255))
def test_damaged_bytes_end_in_one_kind_of_error(
    cut: int, place: int, byte: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "a.onnx"
    data = bytearray(save_graph(path, [RELU], [picture("x")], [picture("y")]).read_bytes())
    data[place % len(data)] = byte
    path.write_bytes(data[: len(data) - cut % len(data)])
    try:
        read_onnx_file(path)
    except ModelError as error:
        assert "\n" not in str(error)
