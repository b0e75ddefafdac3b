import errno
import os
import stat
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyexport.errors import OutOfMemoryError, OutputError
from polyexport.storage import files
from polyexport.storage.files import (
    check_output_file,
    check_writable,
    read_limited,
    read_stream,
    write_atomic,
    write_together,
)
from polyexport.storage.temporary import TEMPORARY_SUFFIX

FAULTS = ("open", "write", "fsync", "replace")


def leftovers(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.endswith(TEMPORARY_SUFFIX)]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, code: int
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        if fault == "replace":
            patch.setattr(Path, "replace", fail)
        elif fault == "write":
            real = os.fdopen

            class Full:
                def __init__(self, *args: object) -> None:
                    self.file = real(*args)  # type: ignore[call-overload]

                def __enter__(self) -> "Full":
                    return self

                def __exit__(self, *_: object) -> None:
                    self.file.close()

                write = fail

            patch.setattr(os, "fdopen", Full)
        else:
            patch.setattr(os, fault, fail)
        with pytest.raises(OutputError, match=os.strerror(code)):
            write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert leftovers(tmp_path) == []
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"


def test_files_that_belong_together_get_their_names_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails before the first rename leaves both of the old files."""
    pair = {tmp_path / "m.sig": b"new", tmp_path / "m": b"new"}
    for path in pair:
        path.write_bytes(b"old")
    real, left = os.fsync, [1]

    def full(descriptor: int) -> None:
        if not left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left.pop()
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match=f"{tmp_path / 'm'} "):
            write_together(pair)
    assert [path.read_bytes() for path in pair] == [b"old", b"old"]
    assert leftovers(tmp_path) == []
    write_together(pair)
    assert [path.read_bytes() for path in pair] == [b"new", b"new"]
    assert leftovers(tmp_path) == []


def test_an_interrupt_removes_the_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "file", b"x")
    assert os.listdir(tmp_path) == []


def test_a_link_is_replaced_never_written_through(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_bytes(b"mine")
    (tmp_path / "link").symlink_to(target)
    write_atomic(tmp_path / "link", b"new")

    assert target.read_bytes() == b"mine"
    assert not (tmp_path / "link").is_symlink()


@pytest.mark.parametrize(("kind", "said"), [("pipe", "a named pipe"), ("socket", "a socket"), ("folder", "a folder")])
def test_what_is_not_a_file_is_not_replaced(kind: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "it"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "socket":
            os.mknod(path, 0o600 | stat.S_IFSOCK)
        case _:
            path.mkdir()
    with pytest.raises(OutputError, match=f"{said} stands there"):
        write_atomic(path, b"x")
    with pytest.raises(OutputError, match=f"is {said}, expected a file or nothing there; name another file"):
        check_output_file(path)
    assert os.listdir(tmp_path) == ["it"]


def test_an_output_that_a_user_names_is_a_file_or_missing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to("file")
    check_output_file(tmp_path / "file")
    check_output_file(tmp_path / "new" / "missing")
    with pytest.raises(OutputError, match="is a link"):
        check_output_file(tmp_path / "link")
    for wrong in ("null\0byte", "x" * 256):
        with pytest.raises(OutputError, match="cannot look at"):
            check_output_file(tmp_path / wrong)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["file", "link", "new"]


def test_the_longest_name_works(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    write_atomic(path, b"x")
    assert path.read_bytes() == b"x"


def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError):
        check_writable(tmp_path / "file" / "below")


def test_checking_leaves_nothing_behind(tmp_path: Path) -> None:
    check_writable(tmp_path / "new")
    assert os.listdir(tmp_path / "new") == []


class Trickle:
    """A stream that gives as many bytes at a time as it likes, as pipes and object stores do."""

    def __init__(self, data: bytes, counts: list[int]) -> None:
        self.data = data
        self.counts = counts

    def read(self, size: int, /) -> bytes:
        assert size > 0
        count = min(size, self.counts.pop() if self.counts else size)
        given, self.data = self.data[:count], self.data[count:]
        return given


@given(st.binary(max_size=200), st.lists(st.integers(1, 50)), st.integers(0, 220), st.integers(0, 250))
def test_a_stream_is_read_to_its_end_or_refused_at_the_limit(
    data: bytes, counts: list[int], max_bytes: int, expected_bytes: int
) -> None:
    stream = Trickle(data, counts)
    if len(data) > max_bytes:
        with pytest.raises(OSError, match=f"more than the limit of {max_bytes} bytes"):
            read_stream(stream, max_bytes, expected_bytes=expected_bytes)
    else:
        assert read_stream(stream, max_bytes, expected_bytes=expected_bytes) == data


def test_memory_is_taken_for_the_file_and_not_for_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(2000))
    tracemalloc.start()
    try:
        assert read_limited(path, 8 * 1024**3) == bytes(2000)
        assert tracemalloc.get_traced_memory()[1] < 4 * 1024**2
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs files of an unknown size, as Linux has them")
def test_a_file_of_an_unknown_size_is_read_to_its_end_or_refused() -> None:
    assert Path("/proc/self/maps").stat().st_size == 0
    assert read_limited("/proc/self/maps", 1 << 24).endswith(b"\n")
    with pytest.raises(OSError, match="more than the limit of 10 bytes") as caught:
        read_limited("/proc/self/maps", 10)
    assert caught.value.errno == errno.EFBIG


def test_a_file_for_which_memory_runs_out_is_named_with_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> bytes:
        raise MemoryError

    (tmp_path / "file").write_bytes(bytes(2000))
    monkeypatch.setattr(files, "read_stream", full)
    with pytest.raises(OutOfMemoryError, match="file, which has 2000 bytes; lower"):
        read_limited(tmp_path / "file", 10_000)
