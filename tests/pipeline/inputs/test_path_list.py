"""Lists of input paths."""

import os
import threading
from pathlib import Path

import pytest

from polyexport.errors import UsageError
from polyexport.pipeline.inputs import path_list
from polyexport.pipeline.inputs.path_list import read_list, read_list_file


@pytest.mark.parametrize(
    ("data", "paths"),
    [
        (b"a.png\nb c.png\n", ["a.png", "b c.png"]),
        (b"\xef\xbb\xbfa.png\r\n\r\nb.png", ["a.png", "b.png"]),
        (b"new\nline.png\0\0b\r\0", ["new\nline.png", "b\r"]),
        (b"\xff.png\n", [os.fsdecode(b"\xff.png")]),
        (b" a \n", [" a "]),
    ],
)
def test_lists_by_line_and_by_nul(data: bytes, paths: list[str]) -> None:
    assert read_list(data) == paths


def test_an_empty_and_a_huge_list_are_usage_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    for data in (b"", b"\n\r\n", b"\0\0"):
        with pytest.raises(UsageError, match="is empty"):
            read_list(data)
    monkeypatch.setattr(path_list, "MAX_LIST_BYTES", 3)
    assert read_list(b"abc") == ["abc"]
    with pytest.raises(UsageError, match="more than 3 bytes"):
        read_list(b"abcd")


def test_a_list_comes_from_a_pipe_that_a_process_has_written_to() -> None:
    """A shell gives ``<(find ...)`` as ``/dev/fd/63``."""
    reader, writer = os.pipe()
    os.write(writer, b"a.png\nb.png\n")
    os.close(writer)
    assert read_list_file(f"/dev/fd/{reader}") == ["a.png", "b.png"]
    os.close(reader)


def test_a_list_comes_from_a_pipe_that_a_process_has_not_written_to_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path_list, "_WRITER_TIMEOUT_MS", 1)
    reader, writer = os.pipe()

    def write() -> None:
        os.write(writer, b"a.png\n")
        os.close(writer)

    threading.Timer(0.1, write).start()
    assert read_list_file(f"/dev/fd/{reader}") == ["a.png"]
    os.close(reader)


def test_a_pipe_that_no_process_writes_to_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path_list, "_WRITER_TIMEOUT_MS", 1)
    os.mkfifo(tmp_path / "list")
    with pytest.raises(UsageError, match="a pipe that no process writes to"):
        read_list_file(str(tmp_path / "list"))
