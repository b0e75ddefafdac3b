import contextlib
import hashlib
import time

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from polyexport.errors import ContractError
from polyexport.runtime.onnx_bytes import graph_sha256, metadata_props, refuse_external_data, refuse_incomplete

VARINT, EIGHT_BYTES, LENGTH_DELIMITED, GROUP, FOUR_BYTES = 0, 1, 2, 3, 5
METADATA = 14


def relu(metadata: dict[str, str]) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "relu",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor("w", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="test")
    helper.set_model_props(model, metadata)
    return model


BARE = relu({}).SerializeToString()
FULL = relu({"a": "1", "polyexport.contract": "x" * 300, "": ""}).SerializeToString()


def varint(value: int, *, padding: int = 0) -> bytes:
    """Encode a number as protobuf does; ``padding`` is a number of more bytes that do not change the value."""
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    if padding:
        parts[-1] |= 0x80
        parts += [0x80] * (padding - 1) + [0]
    return bytes(parts)


def record(number: int, kind: int, content: bytes, *, padding: int = 0) -> bytes:
    length = varint(len(content), padding=padding) if kind == LENGTH_DELIMITED else b""
    return varint(number << 3 | kind, padding=padding) + length + content


def test_it_is_the_sha256_of_the_file_without_its_metadata() -> None:
    assert BARE != FULL
    assert graph_sha256(BARE) == graph_sha256(FULL) == hashlib.sha256(BARE).hexdigest()
    assert graph_sha256(b"") == hashlib.sha256(b"").hexdigest()


@given(st.dictionaries(st.text(max_size=9), st.text(max_size=300), max_size=4))
def test_no_metadata_changes_it(metadata: dict[str, str]) -> None:
    assert graph_sha256(relu(metadata).SerializeToString()) == graph_sha256(BARE)


def test_metadata_anywhere_in_the_file_is_left_out_however_it_is_written() -> None:
    entry = relu({"k": "v"}).metadata_props[0].SerializeToString()
    for padding in (0, 1, 3):
        metadata = record(METADATA, LENGTH_DELIMITED, entry, padding=padding)
        assert onnx.load_model_from_string(metadata + BARE).metadata_props[0].value == "v"
        assert graph_sha256(metadata + BARE + metadata) == graph_sha256(BARE)


@given(st.integers(0, len(BARE) - 1), st.integers(1, 255), st.booleans())
def test_any_changed_byte_outside_the_metadata_changes_it(place: int, mask: int, full: bool) -> None:
    changed = bytearray(BARE)
    changed[place] ^= mask
    tail = FULL[len(BARE) :] if full else b""
    assert FULL.startswith(BARE)  # protobuf writes fields by number, and the metadata comes after what is here
    with contextlib.suppress(ContractError):
        assert graph_sha256(bytes(changed) + tail) != graph_sha256(BARE)


def test_records_that_change_places_change_it() -> None:
    one, two = record(1, VARINT, b"\x08"), record(2, LENGTH_DELIMITED, b"text")
    assert graph_sha256(one + two) != graph_sha256(two + one)


def test_a_truncated_file_is_refused_or_another() -> None:
    """A cut between two records leaves a whole message, but one with another digest."""
    whole = 0
    for kept in range(len(FULL)):
        try:
            found = graph_sha256(FULL[:kept])
        except ContractError as error:
            assert "not a whole ONNX model" in str(error)
            assert onnx_refuses(FULL[:kept])
        else:
            whole += 1
            assert (found == graph_sha256(BARE)) == (kept >= len(BARE))
            assert not onnx_refuses(FULL[:kept])
    assert whole == 7  # nothing, IR version, producer, graph, opset, and all but two or one of the metadata


def onnx_refuses(data: bytes) -> bool:
    from google.protobuf.message import DecodeError

    try:
        onnx.load_model_from_string(data)
    except DecodeError:
        return True
    return False


@pytest.mark.parametrize(
    "data",
    [
        b"\x08",  # a tag and nothing
        b"\x08\x80",  # an endless varint
        b"\x08" + b"\xff" * 11,
        b"\x80" * 9,
        b"\x09" + bytes(7),
        b"\x0d" + bytes(3),
        b"\x12\x05four",
        b"\x12" + varint(2**63),
        b"\x12" + varint(2**69),
        record(METADATA, LENGTH_DELIMITED, b"whole")[:-1],
        record(3, GROUP, b"") + record(3, 4, b""),
        record(3, 6, b""),
        record(3, 7, b""),
    ],
)
def test_what_is_no_whole_message_is_refused(data: bytes) -> None:
    for model in (data, BARE + data):
        for read in (graph_sha256, refuse_incomplete):
            with pytest.raises(ContractError, match="not a whole ONNX model"):
                read(model)


@given(st.binary(max_size=200) | st.binary(max_size=40).map(lambda tail: BARE + tail))
def test_any_bytes_have_a_digest_or_are_refused(data: bytes) -> None:
    with contextlib.suppress(ContractError):
        assert len(graph_sha256(data)) == 64


RECORDS = st.lists(
    st.one_of(
        st.tuples(st.integers(1, 30), st.just(LENGTH_DELIMITED), st.binary(max_size=200)),
        st.tuples(st.integers(1, 2**29 - 1), st.just(VARINT), st.integers(0, 2**64 - 1).map(varint)),
        st.tuples(st.integers(1, 30), st.just(EIGHT_BYTES), st.binary(min_size=8, max_size=8)),
        st.tuples(st.integers(1, 30), st.just(FOUR_BYTES), st.binary(min_size=4, max_size=4)),
    ),
    max_size=8,
)


@given(RECORDS)
def test_it_hashes_all_records_but_the_metadatas(records: list[tuple[int, int, bytes]]) -> None:
    kept = b"".join(record(*one) for one in records if one[0] != METADATA)
    assert graph_sha256(b"".join(record(*one) for one in records)) == hashlib.sha256(kept).hexdigest()


def test_a_large_model_takes_no_longer_than_its_hash() -> None:
    """Tensors are skipped and not read byte by byte, because one record of the outermost level holds them all."""
    data = record(7, LENGTH_DELIMITED, bytes(2**26))
    start = time.perf_counter()
    graph_sha256(data)
    found = time.perf_counter() - start
    start = time.perf_counter()
    hashlib.sha256(data).hexdigest()
    assert found < 0.5 + 5 * (time.perf_counter() - start)


@given(st.dictionaries(st.text(max_size=9), st.text(max_size=300), max_size=4))
def test_it_reads_the_metadata_that_onnx_writes(metadata: dict[str, str]) -> None:
    assert metadata_props(relu(metadata).SerializeToString()) == metadata


def test_it_reads_the_metadata_as_onnx_runtime_does() -> None:
    one, two = (relu({"k": value}).metadata_props[0].SerializeToString() for value in ("one", "two"))
    for padding in (0, 2):
        entries = [record(METADATA, LENGTH_DELIMITED, entry, padding=padding) for entry in (one, two)]
        # A text of the wrong wire type is none, and the last of two counts: of keys, and of entries with one key.
        odd = record(METADATA, LENGTH_DELIMITED, record(1, VARINT, b"\x07") + one + record(1, LENGTH_DELIMITED, b"n"))
        data = entries[0] + BARE + entries[1] + odd + record(METADATA, VARINT, b"\x01")
        expected = {"k": "two", "n": "one"}
        assert metadata_props(data) == expected
        session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
        assert session.get_modelmeta().custom_metadata_map == expected


ENTRIES = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from([VARINT, LENGTH_DELIMITED]), st.sampled_from([b"", b"a", b"b", b"cc"]))
)


@given(st.lists(ENTRIES, max_size=4))
def test_any_entries_are_read_as_protobuf_reads_them(entries: list[list[tuple[int, int, bytes]]]) -> None:
    data = BARE
    for entry in entries:
        content = b"".join(record(number, kind, b"\x01" if kind == VARINT else text) for number, kind, text in entry)
        data += record(METADATA, LENGTH_DELIMITED, content)
    expected = {prop.key: prop.value for prop in onnx.load_model_from_string(data).metadata_props}
    assert metadata_props(data) == expected


@given(st.binary(max_size=200) | st.binary(max_size=40).map(lambda tail: BARE + tail))
def test_any_bytes_have_metadata_or_are_refused(data: bytes) -> None:
    with contextlib.suppress(ContractError, UnicodeDecodeError):
        metadata_props(data)


def test_a_torn_entry_is_refused() -> None:
    with pytest.raises(ContractError, match="not a whole ONNX model"):
        metadata_props(BARE + record(METADATA, LENGTH_DELIMITED, b"\x0a\x05k"))
    with pytest.raises(UnicodeDecodeError):
        metadata_props(BARE + record(METADATA, LENGTH_DELIMITED, record(1, LENGTH_DELIMITED, b"\xff")))


@pytest.mark.parametrize("where", ["initializer", "attribute", "subgraph", "function"])
def test_external_data_anywhere_is_refused(relu_model: onnx.ModelProto, where: str) -> None:
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    external_data_helper.set_external_data(tensor, "secret.bin")
    tensor.ClearField("raw_data")
    constant = helper.make_node("Constant", [], ["w"], value=tensor)
    if where == "initializer":
        relu_model.graph.initializer.append(tensor)
    elif where == "attribute":
        relu_model.graph.node.append(constant)
    elif where == "subgraph":
        branch = helper.make_graph([constant], "branch", [], [helper.make_tensor_value_info("w", 1, [4])])
        relu_model.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch))
    else:
        relu_model.functions.append(
            helper.make_function("own", "f", [], ["w"], [constant], [helper.make_opsetid("", 17)])
        )
    with pytest.raises(ContractError, match="other files"):
        refuse_external_data(relu_model.SerializeToString())


@pytest.mark.parametrize("key", [b"\x0a\x88\x00location", b"\x8a\x80\x80\x80\x10\x08location", b"\x88\x80\x00location"])
def test_padded_protobuf_does_not_hide_external_data(key: bytes) -> None:
    with pytest.raises(ContractError, match="other files"):
        refuse_external_data(b"anything" + key)
