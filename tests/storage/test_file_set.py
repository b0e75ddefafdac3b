"""A set of files replaces what belongs to the earlier set, and nothing else, whatever fails."""

import errno
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from polyexport.errors import OutputError, UsageError
from polyexport.storage import temporary
from polyexport.storage.file_set import open_file_set
from polyexport.storage.temporary import locked_folder

Tree = Callable[[Path], dict[str, bytes]]

OLD = {"one": b"old one", "below/old": b"old", "index": b"old index"}
NEW = {"one": b"new one", "below/two": b"new two", "index": b"new index"}
MINE = {"mine": b"mine", "below/mine": b"mine"}


def fill(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def write(folder: Path, files: dict[str, bytes], earlier: dict[str, bytes]) -> None:
    with open_file_set(folder, index="index") as opened:
        opened.replace(files.items(), frozenset(earlier))


@pytest.mark.parametrize("before", [{}, MINE])
def test_files_of_others_stay(before: dict[str, bytes], tmp_path: Path, tree: Tree) -> None:
    fill(tmp_path / "out", before)
    write(tmp_path / "out", OLD, {})
    assert tree(tmp_path / "out") == before | OLD
    write(tmp_path / "out", NEW, OLD)
    assert tree(tmp_path / "out") == before | NEW
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize("name", ["one", "below/two", "index"])
@pytest.mark.parametrize("kind", ["file", "link", "folder", "pipe"])
def test_a_file_that_nothing_lists_is_not_replaced(name: str, kind: str, tmp_path: Path, tree: Tree) -> None:
    fill(tmp_path, {"elsewhere": b"mine", "out/below/mine": b"mine"})
    there = tmp_path / "out" / name
    match kind:
        case "file":
            there.write_bytes(b"mine")
        case "link":
            there.symlink_to(tmp_path / "elsewhere")
        case "folder":
            there.mkdir()
        case _:
            os.mkfifo(there)
    before = tree(tmp_path)
    with pytest.raises(UsageError, match=f"{name} is there already, and no index lists it; move it away"):
        write(tmp_path / "out", NEW, {})
    assert tree(tmp_path) == before
    assert there.is_symlink() == (kind == "link")


def test_nothing_is_written_through_a_folder_that_is_a_link(tmp_path: Path, tree: Tree) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "below").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="below is a link or not a folder"):
        write(tmp_path / "out", NEW, {})
    assert tree(tmp_path) == {}
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")  # the folder itself may be one: the user named it
    write(tmp_path / "link", NEW, {})
    assert tree(tmp_path / "elsewhere") == NEW


def test_a_second_writer_is_told_to_wait(tmp_path: Path, tree: Tree) -> None:
    fill(tmp_path, OLD)
    with locked_folder(tmp_path), pytest.raises(OutputError, match="another process writes to"):
        write(tmp_path, NEW, OLD)
    assert tree(tmp_path) == OLD


class Failing:
    """A function like another one that fails at its n-th call, or from then on."""

    def __init__(self, real: Callable[..., object], call: int, *, for_good: bool) -> None:
        self.real, self.left, self.for_good = real, call, for_good

    def __get__(self, owner: object, kind: type) -> Callable[..., object]:
        return lambda *arguments, **options: self(owner, *arguments, **options)

    def __call__(self, *arguments: object, **options: object) -> object:
        self.left -= 1
        if not self.left or (self.for_good and self.left < 0):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.real(*arguments, **options)


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "from-then-on"])
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (os, "fsync"),
        (os, "open"),
        *((Path, name) for name in ("mkdir", "open", "rename", "replace", "hardlink_to", "unlink")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_operation_fails_in_turn(
    owner: object, name: str, for_good: bool, tmp_path: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The set is the old or the new one, or the next run moves the rest; no file of others changes, ever."""
    refused = 0
    for call in range(1, 100):
        out = tmp_path / str(call)
        fill(out, OLD | MINE)
        failing = Failing(getattr(owner, name), call, for_good=for_good)
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, failing)
            try:
                write(out, NEW, OLD)
            except OutputError as error:
                assert "No space left on device" in error.message
                refused += 1
        found = tree(out)
        assert found.items() >= MINE.items()
        visible = {each: data for each, data in found.items() if not each.startswith(".")}
        if "index" in visible:
            assert visible == MINE | (NEW if visible["index"] == NEW["index"] else OLD)
        temporary._cleaned.clear()  # as in another process
        with open_file_set(out, index="index"):
            pass
        assert tree(out) in (OLD | MINE, NEW | MINE)
        if failing.left > 0:
            break
    assert refused >= 1
    assert tree(out) == NEW | MINE


def test_where_there_are_no_hard_links(tmp_path: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "hardlink_to", unsupported)
    fill(tmp_path, OLD | MINE)
    write(tmp_path, NEW, OLD)
    assert tree(tmp_path) == NEW | MINE


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_meanwhile_is_kept(
    links: bool, tmp_path: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if not links:
        monkeypatch.setattr(Path, "hardlink_to", unsupported)

    def files() -> Iterator[tuple[str, bytes]]:
        yield from NEW.items()
        fill(tmp_path, {"below/two": b"mine"})

    with (
        pytest.raises(OutputError, match="below/two has appeared while the files were written; move it away"),
        open_file_set(tmp_path, index="index") as opened,
    ):
        opened.replace(files(), frozenset())
    assert (tmp_path / "below" / "two").read_bytes() == b"mine"
    assert not (tmp_path / "index").exists()
    (tmp_path / "below" / "two").rename(tmp_path / "mine")
    with open_file_set(tmp_path, index="index"):
        assert tree(tmp_path) == NEW | {"mine": b"mine"}


@pytest.mark.parametrize("again", ["a", "b", ""])
def test_the_same_request_is_done_once_a_killed_process_had_made_the_set(
    again: str, tmp_path: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "hardlink_to", killed)
        with pytest.raises(KeyboardInterrupt), open_file_set(tmp_path, index="index", request="a") as opened:
            opened.replace(NEW.items(), frozenset())
    with open_file_set(tmp_path, index="index", request=again) as opened:
        assert opened.is_done == (again == "a")
        assert tree(tmp_path) == NEW
    with open_file_set(tmp_path, index="index", request="a") as opened:
        assert not opened.is_done


@pytest.mark.parametrize(
    "record",
    [
        None,
        "",
        "[]",
        "{}",
        '{"request": "", "overwritten": [], "removed": ["../precious"]}',
        '{"request": "", "overwritten": ["/precious"], "removed": []}',
        '{"request": "", "overwritten": [], "removed": [1]}',
        '{"request": "", "overwritten": [], "removed": ["a\\u0000b"]}',
        '{"overwritten": [], "removed": [], "removed": []}',
        '{"overwritten": [], "removed": []}',
    ],
)
def test_a_record_from_elsewhere_is_refused(record: str | None, tmp_path: Path, tree: Tree) -> None:
    fill(tmp_path, {"precious": b"mine", "out/.polyexport-set/files/one": b"x"})
    if record is not None:
        (tmp_path / "out" / ".polyexport-set" / "record.json").write_text(record)
    before = tree(tmp_path)
    with pytest.raises(OutputError, match=r"\.polyexport-set is not a set of files that this toolkit made"):
        write(tmp_path / "out", NEW, {})
    assert tree(tmp_path) == before


def test_a_record_reaches_nothing_through_a_link(tmp_path: Path, tree: Tree) -> None:
    fill(tmp_path, {"elsewhere/precious": b"mine", "out/.polyexport-set/files/one": b"x"})
    (tmp_path / "out" / "below").symlink_to(tmp_path / "elsewhere")
    record = {"request": "", "overwritten": [], "removed": ["below/precious"]}
    (tmp_path / "out" / ".polyexport-set" / "record.json").write_text(json.dumps(record))
    with pytest.raises(OutputError, match="below is a link"):
        write(tmp_path / "out", NEW, {})
    assert (tmp_path / "elsewhere" / "precious").read_bytes() == b"mine"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a file system")
def test_a_disk_that_is_really_full(tmp_path: Path, tree: Tree) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        write(disk / "out", OLD, {})
        large = {f"below/{number}": os.urandom(20_000) for number in range(9)} | NEW
        for output, earlier in ((disk / "out", OLD), (disk / "other", {})):
            with pytest.raises(OutputError, match="No space left on device"):
                write(output, large, earlier)
        assert tree(disk) == {f"out/{name}": data for name, data in OLD.items()}
        assert [path.name for path in disk.iterdir()] == ["out"]
    finally:
        subprocess.run(["umount", disk], check=True)
