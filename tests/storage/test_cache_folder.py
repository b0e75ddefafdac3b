"""Entries of a cache: whole or none, and of nobody but this user."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyexport.storage.cache_folder import CacheUnusableError, EntryFolder, cache_folder, folder_fault

NOBODY = 65534


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "entries"


@pytest.fixture
def entries(folder: Path) -> EntryFolder:
    return EntryFolder(folder, max_bytes=1 << 20)


def only_file(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


@given(st.dictionaries(st.text(max_size=30), st.binary(max_size=200), max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read(tmp_path: Path, contents: dict[str, bytes]) -> None:
    entries = EntryFolder(tmp_path / hashlib.sha256(repr(contents).encode()).hexdigest(), max_bytes=1 << 20)
    for key, content in contents.items():
        entries.write(key, content)
    assert {key: entries.read(key) for key in contents} == contents
    assert entries.read("another key" * 4) is None
    assert entries.usage()[0] == len(contents)


def test_modes_are_this_users_alone(entries: EntryFolder, folder: Path) -> None:
    earlier = os.umask(0)
    try:
        entries.write("key", b"content")
    finally:
        os.umask(earlier)
    assert oct(folder.stat().st_mode & 0o777) == "0o700"
    assert oct(only_file(folder).stat().st_mode & 0o777) == "0o600"


def test_without_a_folder_there_is_nothing(tmp_path: Path) -> None:
    entries = EntryFolder(tmp_path / "none", max_bytes=100)
    assert entries.read("key") is None
    assert entries.usage() == (0, 0)
    entries.remove("key")
    nowhere = EntryFolder(None, max_bytes=100)
    assert nowhere.usage() == (0, 0)
    with pytest.raises(CacheUnusableError):
        nowhere.read("key")
    with pytest.raises(CacheUnusableError):
        nowhere.write("key", b"")


@pytest.mark.parametrize("position", range(0, 130, 5))
def test_a_changed_byte_is_found_and_the_entry_made_again(entries: EntryFolder, folder: Path, position: int) -> None:
    entries.write("key", b"content " * 8)
    file = only_file(folder)
    data = bytearray(file.read_bytes())
    data[position] ^= 1
    file.write_bytes(data)
    assert entries.read("key") is None
    assert list(folder.iterdir()) == []
    entries.write("key", b"again")
    assert entries.read("key") == b"again"


@pytest.mark.parametrize("length", [0, 1, 90, 95])
def test_a_truncated_or_longer_entry_is_none(entries: EntryFolder, folder: Path, length: int) -> None:
    entries.write("key", b"content")
    file = only_file(folder)
    file.write_bytes(file.read_bytes()[:length] if length < 95 else file.read_bytes() + b"more")
    assert entries.read("key") is None


def test_an_entry_under_another_name_does_not_count(entries: EntryFolder, folder: Path) -> None:
    entries.write("one", b"content")
    first = only_file(folder)
    entries.write("other", b"another")
    second = next(path for path in folder.iterdir() if path != first)
    first.replace(second)
    assert entries.read("other") is None


def _linked(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


def _piped(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.chmod(0o644),
        lambda file: file.chmod(0o620),
        lambda file: file.parent.chmod(0o755),
        lambda file: file.parent.chmod(0o770),
        _linked,
        _piped,
    ],
)
def test_what_another_could_have_written_is_refused(
    entries: EntryFolder, folder: Path, change: Callable[[Path], None]
) -> None:
    entries.write("key", b"content")
    change(next(path for path in folder.iterdir()))
    with pytest.raises(CacheUnusableError):
        entries.read("key")


def test_a_folder_of_another_user_is_refused(
    entries: EntryFolder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries.write("key", b"content")
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    with pytest.raises(CacheUnusableError, match="belongs to another user"):
        entries.read("key")
    with pytest.raises(CacheUnusableError, match="belongs to another user"):
        entries.write("key", b"")


def test_a_link_in_place_of_the_folder_is_refused(entries: EntryFolder, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "planted").mkdir(mode=0o700)
    folder.parent.mkdir()
    folder.symlink_to(tmp_path / "planted")
    with pytest.raises(CacheUnusableError, match="is no folder"):
        entries.write("key", b"content")
    assert list((tmp_path / "planted").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv")
def test_two_users_of_one_folder_do_not_meet() -> None:
    with tempfile.TemporaryDirectory() as shared:
        Path(shared).chmod(0o777)
        _meet(Path(shared) / "entries")


def _meet(folder: Path) -> None:
    EntryFolder(folder, max_bytes=1 << 20).write("key", b"of root")
    code = (
        "import sys; from pathlib import Path; from polyexport.storage.cache_folder import *\n"
        "entries = EntryFolder(Path(sys.argv[1]), max_bytes=1 << 20)\n"
        "for call in (lambda: entries.read('key'), lambda: entries.write('key', b'of nobody')):\n"
        "    try: print(call())\n"
        "    except CacheUnusableError as error: print(error)"
    )
    command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", sys.executable, "-c", code]
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=True)
    assert [line for line in done.stdout.splitlines() if "belongs to another user" in line or "denied" in line]
    assert "of root" not in done.stdout
    assert EntryFolder(folder, max_bytes=1 << 20).read("key") == b"of root"


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv")
def test_a_read_only_folder_costs_the_entry_alone(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from polyexport.storage.cache_folder import *\n"
        "try: EntryFolder(Path(sys.argv[1]), max_bytes=99999).write('key', b'')\n"
        "except CacheUnusableError as error: print(error)"
    )
    command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", sys.executable, "-c", code]
    done = subprocess.run([*command, "/proc/entries"], capture_output=True, text=True, check=True)
    assert "cannot be written" in done.stdout


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", path], capture_output=True).returncode:
        pytest.skip("no right to mount")
    yield path
    subprocess.run(["umount", path], check=True)


def test_a_full_disk_leaves_the_earlier_entry_and_nothing_else(disk: Path) -> None:
    entries = EntryFolder(disk / "entries", max_bytes=1 << 20)
    entries.write("key", b"small")
    with pytest.raises(CacheUnusableError, match="No space left"):
        entries.write("key", bytes(100_000))
    assert entries.read("key") == b"small"
    assert len(list((disk / "entries").iterdir())) == 1


@pytest.mark.parametrize("step", ["fchmod", "replace"])
def test_an_error_at_any_step_leaves_nothing(
    entries: EntryFolder, folder: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fails(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(f"{'pathlib.Path' if step == 'replace' else 'os'}.{step}", fails)
    with pytest.raises(CacheUnusableError, match="Input/output error"):
        entries.write("key", b"content")
    assert list(folder.iterdir()) == []


_WRITER = (
    "import sys, os; from pathlib import Path; from polyexport.storage.cache_folder import *\n"
    "entries = EntryFolder(Path(sys.argv[1]), max_bytes=1 << 24)\n"
    "print('ready', flush=True)\n"
    "while True:\n"
    "    for number in range(3):\n"
    "        content = bytes([int(sys.argv[2])]) * 300_000\n"
    "        entries.write(f'key {number}', content)\n"
    "        found = entries.read(f'key {number}')\n"
    "        assert found is None or (len(found) == 300_000 and len(set(found)) == 1)\n"
)


def test_writers_that_are_killed_leave_whole_entries(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for turn in range(4):
        writers = [
            subprocess.Popen([sys.executable, "-c", _WRITER, folder, str(number)], stdout=subprocess.PIPE)
            for number in range(2)
        ]
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
        time.sleep(0.05 + 0.013 * turn)
        for writer in writers:
            assert writer.poll() is None
            writer.send_signal(signal.SIGKILL)
            writer.communicate()
        entries = EntryFolder(folder, max_bytes=1 << 24)
        for number in range(3):
            found = entries.read(f"key {number}")
            assert found is None or (len(found) == 300_000 and len(set(found)) == 1)
    monkeypatch.setattr("polyexport.storage.temporary._cleaned", set())
    entries.write("key 0", b"last")
    assert all(path.name.endswith(".entry") for path in folder.iterdir())


def test_the_least_recently_used_make_room(folder: Path) -> None:
    entries = EntryFolder(folder, max_bytes=3500)
    for number in range(3):
        entries.write(f"key {number}", bytes(1000))
    for number, path in enumerate(sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)):
        os.utime(path, ns=(number, number))
    assert entries.read("key 0") is not None  # used by now
    entries.write("key 3", bytes(1000))
    assert [entries.read(f"key {number}") is not None for number in range(4)] == [True, False, True, True]
    assert entries.usage()[1] <= 3500
    with pytest.raises(CacheUnusableError, match="larger than the limit"):
        entries.write("key 4", bytes(4000))
    assert entries.usage()[0] == 3


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "polyexport"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "polyexport"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == tmp_path / "Library" / "Caches" / "polyexport"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache_folder() == tmp_path / "local" / "polyexport"
    monkeypatch.setenv("POLYEXPORT_CACHE_DIR", str(tmp_path / "given"))
    assert cache_folder() == tmp_path / "given"


@pytest.mark.parametrize(("value", "said"), [("off", "is off"), ("relative/path", "is no absolute path")])
def test_a_variable_that_names_no_folder(value: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYEXPORT_CACHE_DIR", value)
    assert cache_folder() is None
    assert said in folder_fault(None)


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert cache_folder() is None
    assert folder_fault(None) == "this user has no home folder"
