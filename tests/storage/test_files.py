import errno
import os
from pathlib import Path

import pytest

from polyexport.errors import OutputError
from polyexport.storage.files import check_writable, write_atomic
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
