"""Hostile files of weights: each is refused in one line, before memory or time is spent on it."""

import copy
import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from polyexport.errors import CheckpointError
from polyexport.export.source import weights_file
from polyexport.export.source.weights import read_weights
from polyexport.export.source.weights_file import read_file

TENSOR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
LEGACY = b"".join(pickle.dumps(one, protocol=2) for one in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))


def refusal(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(CheckpointError) as caught:
        read_file(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def safetensors_file(header: object, values: bytes = b"\0" * 4, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + values


def archive(*entries: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, data in entries:
            made.writestr(name, data)
    return file.getvalue()


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"a": {**TENSOR, "shape": [2], "data_offsets": [0, 8]}}, "not fully covered"),  # out of the file
        ({"a": TENSOR, "b": TENSOR}, "invalid offset"),  # overlapping
        ({"a": {**TENSOR, "shape": [-1]}}, "integer `-1`"),
        ({"a": {**TENSOR, "shape": [2**62, 2**62]}}, "overflow"),
        ({"a": {**TENSOR, "dtype": "F1"}}, "unknown variant"),
        (b'{"a":%b,"a":%b}' % (json.dumps(TENSOR).encode(), json.dumps(TENSOR).encode()), "stands twice"),
        (b'{"\xff":%b}' % json.dumps(TENSOR).encode(), "utf-8"),
        ([TENSOR], "a header or metadata of another kind"),
        ({"__metadata__": 3, "a": TENSOR}, "a header or metadata of another kind"),
        ({"__metadata__": {"color_map": {"red": 0}}, "a": TENSOR}, "a header or metadata of another kind"),
        ({"__metadata__": {"color_map": "[" * 100_000}, "a": TENSOR}, "inside each other"),
    ],
)
def test_headers_that_are_refused(tmp_path: Path, header: object, said: str) -> None:
    assert said in refusal(tmp_path / "w.safetensors", safetensors_file(header))


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, (1 << 24) + 1])
def test_a_header_that_is_too_long(tmp_path: Path, length: int) -> None:
    assert f"a header of {length} bytes" in refusal(tmp_path / "w.safetensors", safetensors_file({}, length=length))


def test_entries_of_an_archive_that_share_their_bytes(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("archive/data/0", b"\0" * 10_000)
        for number in range(1, 1000):
            made.filelist.append(copy.copy(made.filelist[0]))
            made.filelist[-1].filename = made.filelist[-1].orig_filename = f"archive/data/{number}"
    data = file.getvalue()
    assert f"declares {10_000 * 1000} bytes of contents in {len(data)} bytes" in refusal(tmp_path / "w.pth", data)


def test_a_pickle_is_bounded_before_it_makes_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_file, "_MAX_PICKLE_BYTES", 1000)
    monkeypatch.delattr(torch, "load")  # nothing is unpickled
    bomb = b"\x80\x02(" + b"}" * 2000 + b"t."
    for data in (archive(("archive/data.pkl", bomb), ("archive/version", b"3")), LEGACY + bomb):
        assert "describes its tensors in more than 1000 bytes of pickle" in refusal(tmp_path / "w.pth", data)
    assert "is not a zip archive or a pickle of protocol 2" in refusal(tmp_path / "w.pth", bomb)
    assert "exhausted" in refusal(tmp_path / "w.pth", LEGACY + bomb[:500])
    assert "bytes in a unicodestring4" in refusal(tmp_path / "w.pth", LEGACY + b"\x80\x02X\xff\xff\xff\xffaaa")


def test_the_format_before_zip_archives_is_read(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(read_file(tmp_path / "w.pth").values["a"], torch.ones(2))


def test_dictionaries_that_hold_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cycle: dict[str, Any] = {"a": torch.ones(1)}
    cycle["self"] = cycle
    laughs: Any = ["x"]
    for _ in range(20):
        laughs = [laughs] * 10
    monkeypatch.setattr("polyexport.export.source.weights._MAX_VALUES", 10_000)
    for content in (cycle, {"a": torch.ones(1), "b": laughs}, {"a": torch.ones(1), "b": list(range(20_000))}):
        torch.save(content, tmp_path / "w.pth")
        with pytest.raises(CheckpointError, match="more than 32 deep or 10000 values"):
            read_weights(tmp_path / "w.pth")


def test_a_tensor_with_more_memory_than_its_file(tmp_path: Path) -> None:
    """The format before zip archives lets a pickle say how large a storage is."""
    torch.save({"a": torch.ones(4)}, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    data = (tmp_path / "w.pth").read_bytes()
    at = data.index(b"K\x04", data.index(b"cpu"))  # the number of values in the storage
    (tmp_path / "w.pth").write_bytes(data[:at] + b"J" + (1 << 20).to_bytes(4, "little") + data[at + 2 :])
    with pytest.raises(CheckpointError, match="wrong byte size"):
        read_weights(tmp_path / "w.pth")
