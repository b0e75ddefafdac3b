from pathlib import Path

import onnxruntime as ort
import pytest
from hostile_models import HOSTILE_GRAPHS
from onnx import TensorProto, helper

from polyexport.errors import ContractError
from polyexport.runtime import graph_limits
from polyexport.runtime.graph_limits import refuse_unbounded

FILES = Path(__file__).parents[1] / "files_of_0_1_0"
GOOD = (FILES / "rgb.onnx").read_bytes()


def record(number: int, content: bytes, *, tag: bytes = b"") -> bytes:
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
    return (tag or bytes([number << 3 | 2])) + length + content


def in_a_node(content: bytes) -> bytes:
    """A good model, and after it a second part of its graph with a node, which protobuf appends to the first."""
    return GOOD + record(7, record(1, content))


SUBGRAPH = record(4, b"If") + record(5, record(1, b"then") + record(6, b""))


def test_what_was_exported_passes(shipped_path: Path) -> None:
    for path in (*FILES.glob("*.onnx"), *shipped_path.parent.glob("*.onnx")):
        refuse_unbounded(path.read_bytes())
    refuse_unbounded(in_a_node(record(4, b"Relu") + record(7, b"ai.onnx")))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (in_a_node(SUBGRAPH), r"a node with a graph of its own \('If'\)"),
        (in_a_node(record(5, record(11, b"")) + record(4, b"Any")), r"a node with a graph of its own \('Any'\)"),
        # A tag of five bytes whose upper bits protobuf drops.
        (in_a_node(record(5, record(6, b"", tag=b"\xb2\x80\x80\x80\x10"))), "a node with a graph of its own"),
        (in_a_node(record(5, record(6, b"", tag=b"\xb2\x80\x00"))), "a node with a graph of its own"),
        (in_a_node(record(4, b"Gelu") + record(7, b"com.microsoft")), "the domain 'com.microsoft'"),
        (in_a_node(record(7, b"com.microsoft") + record(7, b"")), "the domain 'com.microsoft'"),
        (in_a_node(record(7, b"\xff\n")), r"the domain '\ufffd\\n'"),
        (GOOD + b"\xca\x01\x00", "it holds functions"),
        (GOOD + b"\xa2\x01\x00", "it holds training information"),
        (GOOD + b"\x32\x00" * 4096, "more than 4096 fields"),
        (GOOD[:-1], "not a whole ONNX model"),
        (in_a_node(b"\x0a\x09x"), "not a whole ONNX model"),
        (b"\x3a\x02\x0a\x00ORTM", "ONNX Runtime's own format"),
    ],
)
def test_what_may_run_without_end_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(ContractError, match=said):
        refuse_unbounded(data)


def test_onnx_runtime_reads_such_tags() -> None:
    for tag in (b"\xa2\x80\x00", b"\xa2\x80\x80\x80\x10"):
        with pytest.raises(Exception, match="NoSuchOperator"):
            ort.InferenceSession(
                in_a_node(record(1, b"color") + record(2, b"y") + record(4, b"NoSuchOperator", tag=tag))
            )


@pytest.mark.parametrize(
    "content",
    [record(1, b"") * 99, record(5, record(8, b"") * 99), b"".join([record(5, b"")] * 99)],
    ids=["inputs", "values", "attributes"],
)
def test_the_number_of_fields_is_bounded(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = record(7, record(1, content))
    monkeypatch.setattr(graph_limits, "MAX_GRAPH_FIELDS", 150)
    refuse_unbounded(graph)
    with pytest.raises(ContractError, match="its graph has more than 150 fields"):
        refuse_unbounded(graph * 2)
    monkeypatch.setattr(graph_limits, "MAX_GRAPH_FIELDS", 50)
    with pytest.raises(ContractError, match="its graph has more than 50 fields"):
        refuse_unbounded(graph)


@pytest.mark.parametrize("name", ["endless_loop", "laughing_functions"])
def test_loops_and_functions_are_refused_without_a_runtime(name: str) -> None:
    with pytest.raises(ContractError):
        refuse_unbounded(HOSTILE_GRAPHS[name](GOOD))


def test_an_initializer_is_not_looked_into() -> None:
    """However many values it has: they cost nothing but the size of the file."""
    graph = helper.make_graph([], "g", [], [], [helper.make_tensor("w", TensorProto.FLOAT, [3], [1, 2, 3])])
    refuse_unbounded(bytes(helper.make_model(graph).SerializeToString()))
