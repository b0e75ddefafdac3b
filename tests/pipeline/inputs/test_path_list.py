"""Lists of input paths."""

import os

import pytest

from polyexport.errors import UsageError
from polyexport.pipeline.inputs import path_list
from polyexport.pipeline.inputs.path_list import read_list


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
