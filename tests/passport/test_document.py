"""The passport's file: what it holds, and what is refused."""

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyexport.errors import OutputError
from polyexport.passport.document import (
    MAX_ENTRIES,
    MAX_PASSPORT_BYTES,
    Endpoint,
    Entry,
    NodeAlone,
    NodeDifference,
    OutputDifference,
    Passport,
    parse_passport,
    passport_path,
    read_passport,
    write_passport,
)

SHA = "a" * 64
TEXTS = st.text(max_size=20)
NUMBERS = st.floats(0, 1e30)
SHAPES = st.lists(st.integers(0, 1 << 40), max_size=5).map(tuple)
ENDPOINTS = st.builds(Endpoint, provider=TEXTS, version=TEXTS, device=TEXTS, bits=st.integers(0, 52))
NODES = st.builds(
    NodeDifference,
    node=TEXTS,
    operator=TEXTS,
    tensor=TEXTS,
    shape=SHAPES,
    dtype=TEXTS,
    example=TEXTS,
    kind=st.sampled_from(("cause", "consequence", "unknown", "none")),
    max_abs=NUMBERS,
    relative=NUMBERS,
    index=SHAPES,
    inputs_relative=NUMBERS,
    detail=TEXTS,
    alone=st.none() | st.builds(NodeAlone, max_abs=NUMBERS, relative=NUMBERS, detail=TEXTS),
    failure=TEXTS,
    changed_weights=st.lists(TEXTS, max_size=2).map(tuple),
)
OUTPUTS = st.builds(OutputDifference, max_levels=NUMBERS, mean_levels=NUMBERS, unequal=NUMBERS, agrees=st.booleans())
ENTRIES = st.builds(
    Entry,
    reference=ENDPOINTS,
    candidate=ENDPOINTS,
    polyexport=TEXTS,
    examples=st.lists(TEXTS, max_size=2).map(tuple),
    examples_sha256=TEXTS,
    tensors=st.integers(0, 1 << 40),
    uncompared=st.lists(TEXTS, max_size=2).map(tuple),
    tolerance=NUMBERS,
    tolerance_alone=NUMBERS,
    agrees=st.booleans(),
    first=st.none() | NODES,
    cause=st.none() | NODES,
    widest=st.none() | NODES,
    apart=OUTPUTS,
    fused=OUTPUTS,
)
SMALL = OutputDifference(max_levels=1.0, mean_levels=0.01, unequal=0.001, agrees=True)


def entry(candidate: str = "openvino", device: str = "a CPU", **changes: Any) -> Entry:
    reference = Endpoint(provider="cpu", version="onnxruntime 1.31.1", device=device, bits=23)
    values: dict[str, Any] = {
        "reference": reference,
        "candidate": Endpoint(provider=candidate, version=f"{candidate} 1", device=device, bits=23),
        "polyexport": "0.1.0",
        "examples": ("golden",),
        "examples_sha256": SHA,
        "tensors": 5,
        "uncompared": (),
        "tolerance": 1e-4,
        "tolerance_alone": 1e-5,
        "agrees": True,
        "first": None,
        "cause": None,
        "widest": None,
        "apart": SMALL,
        "fused": SMALL,
    }
    return Entry(**values | changes)


@given(st.lists(ENTRIES, max_size=2).map(tuple))
def test_what_is_written_is_read(entries: tuple[Entry, ...]) -> None:
    passport = Passport(model_sha256=SHA, entries=entries)
    assert parse_passport(passport.to_json().encode()) == passport


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_bytes_of_any_kind_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse_passport(data)


@given(st.data())
def test_a_changed_file_is_read_or_refused(data: st.DataObject) -> None:
    text = bytearray(Passport(model_sha256=SHA, entries=(entry(),)).to_json().encode())
    for _ in range(data.draw(st.integers(1, 3))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        assert parse_passport(bytes(text)).version == 1


def _with(**changes: Any) -> bytes:
    whole = json.loads(Passport(model_sha256=SHA, entries=(entry(),)).to_json())
    return json.dumps(whole | changes).encode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (_with(version=2), "version is 2"),
        (_with(version="1"), "version is '1'"),
        (_with(more=1), "unknown more"),
        (_with(entries={}), "entries is {}"),
        (_with(entries=[1]), "an object"),
        (_with(model_sha256="a"), "64 digits"),
        (_with(entries=[json.loads(_with())["entries"][0]] * (MAX_ENTRIES + 1)), "up to 32"),
        (_with(model_sha256="a" * 2000), "2000 characters"),
        (b"[" * 5000, "inside each other"),
        (b" " * (MAX_PASSPORT_BYTES + 1), "more than the limit"),
        (b'{"version": 1, "version": 1}', "stands twice"),
        (_with().replace(b'"tolerance": 0.0001', b'"tolerance": NaN'), "NaN"),
        (b"{}", "lacks"),
    ],
)
def test_what_is_no_passport_says_why(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_passport(data)


def test_equal_passports_are_equal_bytes(tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    one = Passport(model_sha256=SHA).with_entry(entry()).with_entry(entry("cuda"))
    other = Passport(model_sha256=SHA).with_entry(entry("cuda")).with_entry(entry())
    first = write_passport(model, one).read_bytes()
    assert write_passport(model, other).read_bytes() == first
    assert passport_path(model).name == "m.onnx.passport.json"
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx.passport.json"]


def test_a_later_comparison_replaces_an_earlier_one_of_its_pair() -> None:
    passport = Passport(model_sha256=SHA).with_entry(entry()).with_entry(entry(device="another"))
    assert len(passport.entries) == 2
    again = passport.with_entry(entry(agrees=False))
    assert [one.agrees for one in again.entries] == [False, True]
    for number in range(MAX_ENTRIES + 5):
        passport = passport.with_entry(entry(device=f"device {number:02}"))
    assert len(passport.entries) == MAX_ENTRIES


def _piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: path.unlink(), ""),
        (lambda path: path.write_bytes(b""), "no passport of this version"),
        (lambda path: path.write_bytes(path.read_bytes()[:-30]), "no passport of this version"),
        (lambda path: path.write_text(path.read_text().replace(SHA, "b" * 64)), "belongs to another file"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read"),
        (_piped, "cannot be read"),
        (lambda path: (path.unlink(), path.symlink_to(path)), "cannot be read"),
    ],
)
def test_what_does_not_count_is_none(change: Callable[[Path], Any], said: str, tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    path = write_passport(model, Passport(model_sha256=SHA, entries=(entry(),)))
    assert read_passport(model, SHA)[0] is not None
    change(path)
    found, reason = read_passport(model, SHA)
    assert found is None
    assert said in reason
    assert bool(reason) == bool(said)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "m.onnx.passport.json").mkdir()
    with pytest.raises(OutputError):
        write_passport(tmp_path / "m.onnx", Passport(model_sha256=SHA))


def test_more_axes_than_any_tensor_has() -> None:
    with pytest.raises(ValueError, match="up to 16"):
        NodeDifference(
            node="n",
            operator="Conv",
            tensor="t",
            shape=(1,) * 17,
            dtype="float32",
            example="golden",
            kind="none",
            max_abs=0.0,
            relative=0.0,
            index=(),
            inputs_relative=0.0,
            detail="",
        )
