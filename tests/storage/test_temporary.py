"""Temporaries of living writers stay, and those of killed ones go."""

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from polyexport.errors import UsageError
from polyexport.storage import temporary
from polyexport.storage.files import write_atomic
from polyexport.storage.folder import MANIFEST, check_free, write_folder
from polyexport.storage.scratch import libraries_in_scratch_folder, scratch_folder
from polyexport.storage.temporary import TEMPORARY_SUFFIX, create_file, remove_abandoned, temporary_folder

Tree = Callable[[Path], dict[str, bytes]]

TOKEN = "0123456789abcdef"
LEFT = f".{TOKEN}{TEMPORARY_SUFFIX}"
SCRIPT = Path(__file__).with_name("killed_writers.py")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_the_next_writer_removes_what_nobody_holds(kind: str, tmp_path: Path) -> None:
    if kind == "file":
        (tmp_path / LEFT).write_bytes(b"half")
    else:
        (tmp_path / LEFT / "below").mkdir(parents=True)
        (tmp_path / LEFT / "below" / "file").write_bytes(b"half")
    for other in ("mine", f".mine{TEMPORARY_SUFFIX}", f"{TOKEN}{TEMPORARY_SUFFIX}"):
        (tmp_path / other).write_text("mine")
    write_atomic(tmp_path / "file", b"x")
    assert names(tmp_path) == sorted(["file", "mine", f".mine{TEMPORARY_SUFFIX}", f"{TOKEN}{TEMPORARY_SUFFIX}"])


def test_what_a_living_writer_holds_stays(tmp_path: Path) -> None:
    """One process stands for several: a lock belongs to the descriptor."""
    path, descriptor = create_file(tmp_path)
    with temporary_folder(tmp_path) as folder:
        (folder / "file").write_bytes(b"half")
        remove_abandoned(tmp_path)
        assert (folder / "file").read_bytes() == b"half"
        assert path.exists()
    os.close(descriptor)
    assert names(tmp_path) == [path.name]
    temporary._cleaned.clear()
    remove_abandoned(tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF])
def test_nothing_is_removed_where_there_are_no_locks(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    (tmp_path / LEFT).write_bytes(b"perhaps of a living process")
    write_atomic(tmp_path / "file", b"x")
    write_folder(tmp_path / "out", {"a": b"a"}, kind="a test", overwrite=False)
    write_folder(tmp_path / "out", {"b": b"b"}, kind="a test", overwrite=True)
    assert names(tmp_path) == sorted([LEFT, "file", "out"])
    assert names(tmp_path / "out") == [MANIFEST, "b"]


def test_a_folder_is_looked_through_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[object] = []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: looked.append(folder) or real(folder))  # type: ignore[func-returns-value]
    for number in range(3):
        write_atomic(tmp_path / str(number), b"x")
    assert looked == [tmp_path]


def test_other_kinds_with_such_a_name_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / LEFT).symlink_to("mine")
    os.mkfifo(tmp_path / LEFT.replace("0", "f"))
    write_atomic(tmp_path / "file", b"x")
    assert len(names(tmp_path)) == 4


@pytest.mark.parametrize("moment", ["locked", "removed"])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_cleaner_between_creation_and_lock_costs_another_name(
    kind: str, moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may find a file or folder, and lock or remove it, before its writer has locked it."""
    real, others = fcntl.flock, [moment]

    def after_another(descriptor: int, operation: int) -> None:
        while others:
            path = next(path for path in tmp_path.iterdir() if path.name.endswith(TEMPORARY_SUFFIX))
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink()
            if others.pop() == "locked":
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", after_another)
    if kind == "file":
        write_atomic(tmp_path / "out", b"x")
    else:
        write_folder(tmp_path / "out", {"a": b"a"}, kind="a test", overwrite=False)
    assert not others
    assert names(tmp_path) == ["out"]


def test_a_scratch_folder_of_a_killed_process_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / LEFT).mkdir()
    with scratch_folder() as folder:
        assert names(tmp_path) == [folder.name]
        assert folder.stat().st_mode & 0o777 == 0o700
    with libraries_in_scratch_folder(), tempfile.NamedTemporaryFile() as file:
        assert Path(file.name).parent.parent == tmp_path
    assert names(tmp_path) == []
    assert tempfile.gettempdir() == str(tmp_path)


def killed(writer: str, before: Path, work: Path) -> list[tuple[Path, Path]]:
    """Kill a writer before each file operation; return the folder after each kill, and after the run that follows."""
    work.mkdir()
    subprocess.run([sys.executable, SCRIPT, writer, before, work], check=True, cwd=Path(__file__).parents[2])
    numbers = sorted(int(path.name) for path in work.iterdir() if path.name.isdigit())
    return [(work / f"{number}-killed", work / str(number)) for number in numbers]


def test_a_file_is_old_or_new_whenever_its_writer_is_killed(tmp_path: Path, tree: Tree) -> None:
    (tmp_path / "before").mkdir()
    (tmp_path / "before" / "file").write_bytes(b"old")
    states = killed("file", tmp_path / "before", tmp_path / "work")
    assert len(states) > 4
    for after_kill, after_rerun in states:
        assert (after_kill / "file").read_bytes() in (b"old", b"new")
        assert tree(after_rerun) == {"file": b"new"}


@pytest.mark.parametrize("earlier", [False, True])
def test_a_folder_is_never_lost_whenever_its_writer_is_killed(earlier: bool, tmp_path: Path, tree: Tree) -> None:
    before = tmp_path / "before"
    before.mkdir()
    if earlier:
        write_folder(before / "out", {"one": b"old one", "old": b"old"}, kind="a test", overwrite=False)
    (before / "mine").write_text("mine")
    states = killed("folder", before, tmp_path / "work")
    new = tree(states[-1][0])  # the last run ended before it could be killed
    assert {name for name in new if name != "mine"} == {
        f"out/{name}" for name in (MANIFEST, "one", "below/two", "below/three")
    }
    assert len(states) >= 15 + 5 * earlier
    without_name = 0
    for after_kill, after_rerun in states:
        assert tree(after_rerun) == new
        assert names(after_rerun) == ["mine", "out"]
        without_name += earlier and not (after_kill / "out").exists()
        if earlier:  # a run without --overwrite gives an earlier folder its name back, and refuses to replace it
            with pytest.raises(UsageError, match="not empty"):
                check_free(after_kill / "out", kind="a test", overwrite=False)
        else:
            remove_abandoned(after_kill)
        assert tree(after_kill) in (tree(before), new)
        assert not [name for name in names(after_kill) if name.endswith(TEMPORARY_SUFFIX)]
    assert without_name == earlier


@pytest.mark.parametrize("earlier", [False, True])
def test_a_file_set_is_whole_whenever_its_writer_is_killed(earlier: bool, tmp_path: Path, tree: Tree) -> None:
    before = tmp_path / "before" / "out"
    old = {"one": b"old one", "below/old": b"old", "index": b"one below/old"} if earlier else {}
    for name, data in ({"below/mine": b"mine"} | old).items():
        (before / name).parent.mkdir(parents=True, exist_ok=True)
        (before / name).write_bytes(data)
    new = {"one": b"new one", "below/two": b"new two", "below/three": b"new three"}
    new["index"] = " ".join(["one", "below/two", "below/three"]).encode()
    states = killed("file_set", before.parent, tmp_path / "work")
    assert len(states) > 20
    for after_kill, after_rerun in states:
        found = tree(after_kill / "out")
        assert found["below/mine"] == b"mine"
        if "index" in found:
            expected = new if found["index"] == new["index"] else old
            assert expected.items() <= found.items()
        assert tree(after_rerun / "out") == new | {"below/mine": b"mine"}
        assert names(after_rerun / "out") == ["below", "index", "one"]
