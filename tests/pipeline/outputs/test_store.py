"""An output folder in a store, on pyarrow's own local file system: no store is needed, and every byte is real."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from color_settings import setting

from polyexport.errors import OutputError, UsageError
from polyexport.pipeline.outputs.disk import UnpublishedOutput
from polyexport.pipeline.outputs.journal import Journal, Record
from polyexport.pipeline.outputs.store import StoreFolder, StoreStaging, open_folder, open_staging, open_view
from polyexport.pipeline.plan import make_plan
from polyexport.pipeline.results import ItemResult, RunReport
from polyexport.storage.stores import Store, Url

Colorize = Callable[..., tuple[RunReport, dict[str, ItemResult]]]

COLORS = (setting("red"), setting("#0080ff"))
SHA = "0" * 64


def url(path: Path) -> Url:
    return Url.of(path.as_uri())


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def pictures(root: Path) -> dict[str, bytes]:
    return {name: data for name, data in tree(root).items() if name.endswith(".png")}


def test_a_store_holds_what_a_disk_holds(colorize: Colorize, drawings: Path, tmp_path: Path) -> None:
    colorize(tmp_path / "disk")
    (drawings / "bad.png").write_text("no picture")
    plan = make_plan([str(url(drawings))], COLORS, output=url(tmp_path / "store"))
    report, results = colorize(url(tmp_path / "store"), plan=plan)

    assert (report.ok, report.failed, report.written) == (6, 1, 12)
    assert "no image of a known format" in results["bad.png"].reason
    assert pictures(tmp_path / "store") == pictures(tmp_path / "disk")
    assert set(tree(tmp_path / "store")) - set(pictures(tmp_path / "store")) == {".polyexport/journal.jsonl"}
    again, _ = colorize(url(tmp_path / "store"), plan=plan)
    assert (again.ok, again.skipped, again.failed, again.written) == (0, 6, 1, 0)


def test_what_no_run_made_is_not_replaced(colorize: Colorize, drawings: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "red").mkdir(parents=True)
    (tmp_path / "out" / "red" / "0.png").write_text("mine")
    plan = make_plan([drawings], COLORS, output=url(tmp_path / "out"))
    with pytest.raises(UsageError, match="1 of 12 outputs exist already"):
        colorize(url(tmp_path / "out"), plan=plan)
    assert (tmp_path / "out" / "red" / "0.png").read_text() == "mine"


def test_a_run_that_was_cut_off_is_carried_on(tmp_path: Path) -> None:
    target = url(tmp_path / "out")
    folder = StoreFolder(target)
    done = UnpublishedOutput("red/0.png", Record(SHA, SHA, SHA), folder.stage(b"picture"))
    assert folder.publish([done]) == [""]
    folder.stage(b"never named")
    folder.journal.close()  # and here the process ends
    parts = list((tmp_path / "out" / ".polyexport").glob("journal-*"))
    assert len(parts) == 1
    lock = tmp_path / "out" / ".polyexport" / "lock"
    lock.write_text(json.dumps({"pid": _ended(), "host": socket.gethostname(), "command": "polyexport infer"}))

    with StoreFolder(target) as after:
        assert after.journal.record("red/0.png") == Record(SHA, SHA, SHA)
        assert after.publish([UnpublishedOutput("red/1.png", Record(SHA, SHA, ""), "")]) == [""]
    assert set(tree(tmp_path / "out")) == {"red/0.png", ".polyexport/journal.jsonl"}
    view, journal = open_view(target)
    assert view is not None
    assert isinstance(journal, Journal)
    assert journal.record("red/0.png") == Record(SHA, SHA, SHA)
    assert view.hash_outputs(["red/0.png", "red/1.png"])[1] is None
    journal.close()


def _ended() -> int:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    return pid


def test_one_run_at_a_time(tmp_path: Path) -> None:
    target = url(tmp_path / "out")
    with StoreFolder(target), pytest.raises(OutputError, match=f"another run writes to .*process {os.getpid()}"):
        StoreFolder(target)
    lock = tmp_path / "out" / ".polyexport" / "lock"
    lock.parent.mkdir(exist_ok=True)
    lock.write_text(json.dumps({"pid": 1, "host": "elsewhere", "command": "polyexport"}))
    with pytest.raises(OutputError, match="on elsewhere.*") as caught:
        StoreFolder(target)
    assert "if it was killed, remove" in caught.value.remedy
    assert lock.exists()


def test_of_many_that_begin_at_once_one_has_it(tmp_path: Path) -> None:
    target = url(tmp_path / "out")
    inside, most, had, refused = 0, 0, 0, 0
    counting = threading.Lock()
    together = threading.Barrier(6)

    def begin() -> None:
        nonlocal inside, most, had, refused
        together.wait()
        try:
            with StoreFolder(target):
                with counting:
                    inside += 1
                    had += 1
                    most = max(most, inside)
                time.sleep(0.3)
                with counting:
                    inside -= 1
        except OutputError as error:
            assert "another run" in error.message
            refused += 1

    threads = [threading.Thread(target=begin) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert had + refused == 6
    assert not tree(tmp_path / "out")


def test_a_folder_that_another_process_removes_while_it_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listing finds the folder, and it is gone when it is opened; pyarrow reports that as an error of its own."""
    store, missing = Store(url(tmp_path / "out")), 0

    class Racing:
        type_name = "local"

        def get_file_info(self, selector: object) -> list[object]:
            nonlocal missing
            missing += 1
            if missing < 4:
                raise FileNotFoundError(2, "Cannot list directory 'out'")
            return []

    monkeypatch.setattr(store, "_files", Racing())
    assert list(store.entries(recursive=False)) == []
    assert missing == 4
    missing = -1000
    with pytest.raises(FileNotFoundError):
        list(store.entries(recursive=True))
    assert missing == -992


def test_a_run_that_ends_removes_neither_the_request_nor_the_lock_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process begins after this one has looked for the last time into the folder that both use."""
    state = tmp_path / "out" / ".polyexport"
    real = Store.remove

    def remove(store: Store, name: str) -> None:
        real(store, name)
        if name == ".polyexport/lock":
            (state / "ask-other").write_text("{}")

    folder = StoreFolder(url(tmp_path / "out"))
    monkeypatch.setattr(Store, "remove", remove)
    monkeypatch.setattr(Store, "entries", lambda *arguments, **options: iter(()))
    folder.close()
    assert [path.name for path in state.iterdir()] == ["ask-other"]


@pytest.mark.parametrize("place", [".polyexport", ".polyexport/lock", "journal part"])
def test_a_store_that_is_moved_away_during_the_run_is_noticed(tmp_path: Path, place: str) -> None:
    target = tmp_path / "out"
    with StoreFolder(url(target)) as folder:
        folder.check_place()
        folder.publish([UnpublishedOutput("red/0.png", Record(SHA, SHA, SHA), folder.stage(b"picture"))])
        folder.check_place()
        [part] = target.glob(".polyexport/journal-*")
        moved = part if place == "journal part" else target / place
        moved.rename(tmp_path / "moved")
        with pytest.raises(OutputError, match=r"out was moved or removed during the run: .polyexport/.* is missing"):
            folder.check_place()


def test_what_a_killed_run_asked_for_here_is_taken_away(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    ask = tmp_path / "out" / ".polyexport" / "ask-1"
    ask.parent.mkdir(parents=True)
    ask.write_text(json.dumps({"pid": ended.pid, "host": socket.gethostname(), "command": "polyexport"}))
    with StoreFolder(url(tmp_path / "out")):
        assert not ask.exists()


def test_nothing_is_left_of_a_run_that_made_nothing(tmp_path: Path) -> None:
    with open_folder(url(tmp_path / "out")):
        pass
    assert not tree(tmp_path / "out")


@pytest.mark.parametrize("operation", ["write", "move", "entries", "remove"])
def test_the_nth_request_fails_for_every_n(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str) -> None:
    """Whatever request fails: an error of the output, whole files, and the next run completes."""
    real = getattr(Store, operation)
    failures = fails_at = 0
    while True:
        fails_at, calls = fails_at + 1, 0

        def faulty(*arguments: object, fails_at: int = fails_at, **options: object) -> object:
            nonlocal calls
            calls += 1
            if calls == fails_at:
                raise OSError(0, "the store is away")
            return real(*arguments, **options)

        root = tmp_path / f"{operation}{fails_at}"
        with monkeypatch.context() as patch:
            patch.setattr(Store, operation, faulty)
            try:
                run(url(root))
            except OutputError as error:
                assert "the store is away" in error.message
                failures += 1
        for name in ("lock", *(path.name for path in root.glob(".polyexport/ask-*"))):
            (root / ".polyexport" / name).unlink(missing_ok=True)  # what its remedy says
        run(url(root))
        assert pictures(root) == {"red/0.png": b"zero", "red/1.png": b"one"}
        assert not list(root.rglob("tmp-*"))
        with StoreFolder(url(root)) as folder:
            assert all(folder.journal.record(f"red/{number}.png") for number in range(2))
        if calls < fails_at:
            break
    assert failures >= (operation != "remove")


def run(target: Url) -> None:
    with StoreFolder(target) as folder:
        for number, data in enumerate((b"zero", b"one")):
            folder.publish(
                [UnpublishedOutput(f"red/{number}.png", Record(SHA, SHA, SHA), folder.stage(data), replace=True)]
            )


def test_staging_by_another_process(tmp_path: Path) -> None:
    with StoreFolder(url(tmp_path / "out")) as folder:
        staging = open_staging(folder.root)
        assert isinstance(staging, StoreStaging)
        name = staging.stage(b"picture")
        staging.sync([name])
        staging.close()
        assert folder.publish([UnpublishedOutput("red/0.png", Record(SHA, SHA, SHA), name)]) == [""]
    assert pictures(tmp_path / "out") == {"red/0.png": b"picture"}
