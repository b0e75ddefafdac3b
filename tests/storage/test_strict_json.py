import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyexport.storage.strict_json import read_json

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_reads_what_json_writes(value: Any, as_bytes: bool) -> None:
    text = json.dumps(value)
    assert read_json(text.encode() if as_bytes else text) == value


@given(st.text(alphabet='{}[],:"\\ 0e-.tnull\n', max_size=30))
def test_never_accepts_what_the_standard_reader_refuses(text: str) -> None:
    try:
        value = read_json(text)
    except ValueError:
        return
    assert value == json.loads(text)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ('{"color": "red", "color": "blue"}', "'color' stands twice"),
        ('[{"a": {"b": 1, "b": 1}}]', "'b' stands twice"),
        (r'{"a": 1, "\u0061": 2}', "'a' stands twice"),
        ("[NaN]", "NaN is not a JSON number"),
        ("-Infinity", "-Infinity is not a JSON number"),
        ("[" * 33 + "]" * 33, "more than 32 arrays and objects"),
        ('{"a":' * 100_000, "more than 32 arrays and objects"),
        ("[" + "0," * 1_000_000 + "0]", "more than 1000000 values"),
        (b'"\xff"', "utf-8"),
        ('["a]', "Unterminated"),
        ("", "Expecting value"),
        ("1" * 5000, "Exceeds the limit"),
    ],
)
def test_refuses(data: bytes | str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_json(data)


def test_brackets_in_strings_are_text() -> None:
    text = json.dumps({"[{,": '"\\[[[[' * 100})
    assert read_json(text, max_depth=1, max_values=2) == json.loads(text)


def test_a_byte_order_mark_is_skipped() -> None:
    assert read_json(b"\xef\xbb\xbf[1]") == [1]


def test_strings_without_an_end_are_scanned_once() -> None:
    # Scanned again from each of its quotes, this text would take hours.
    with pytest.raises(ValueError, match="Unterminated"):
        read_json('"' + '\\"' * 2_000_000)


def test_many_values_are_refused_before_they_are_built() -> None:
    data = "[" + "[]," * 2_000_000 + "[]]"
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="more than 1000 values"):
            read_json(data, max_values=1000)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
