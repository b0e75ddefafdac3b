"""Watches in a thread of the test, over a model that inverts its image."""

import importlib.util
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from version3_models import version3_bytes

import polyexport
from polyexport.errors import OutputError, PolyexportError, UsageError
from polyexport.imaging.pixels import read_image
from polyexport.pipeline.events import Event, ImageFinished, NotificationsFailed, RunFinished, WatchWaiting
from polyexport.pipeline.outputs.disk import read_journal
from polyexport.pipeline.watching import arrivals, changes
from polyexport.pipeline.watching import run as watch_run


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> polyexport.Model:
    path = tmp_path_factory.mktemp("model") / "plain.onnx"
    path.write_bytes(version3_bytes("plain"))
    return polyexport.load_model(path, provider="cpu", streams=2)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "SETTLE_S", 0.15)
    monkeypatch.setattr(arrivals, "GRACE_S", 2.5)


class Watching:
    """A watch in a thread."""

    def __init__(self, folder: Path, output: Path, model: polyexport.Model | Path, **options: object) -> None:
        self.folder, self.output = folder, output
        self.events: list[Event] = []
        self.cancel = threading.Event()
        self.report: polyexport.RunReport | None = None
        self.error: BaseException | None = None

        def run() -> None:
            try:
                self.report = polyexport.infer_folder(
                    folder,
                    output=output,
                    model=model,
                    watch=True,
                    jobs=1,
                    cancel=self.cancel,
                    on_event=self.events.append,
                    **options,  # type: ignore[arg-type]
                )
            except BaseException as error:  # noqa: BLE001 - the test looks at it
                self.error = error

        self._thread = threading.Thread(target=run)
        self._thread.start()

    @property
    def results(self) -> list[tuple[str, str]]:
        """Relative path and state of each image, in the order of the events."""
        finished = [event.result for event in self.events if isinstance(event, ImageFinished)]
        return [(str(Path(one.item.source).relative_to(self.folder)), one.status) for one in finished]

    def until(self, condition: Callable[[], object], timeout_s: float = 30.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, (self.results, self.error)
            assert self._thread.is_alive() or condition(), self.error
            time.sleep(0.02)

    def until_done(self, *results: tuple[str, str]) -> None:
        self.until(lambda: len(self.results) >= len(results))
        assert sorted(self.results) == sorted(results)

    def until_waiting(self) -> None:
        self.until(lambda: any(isinstance(event, WatchWaiting) for event in self.events))

    def end(self) -> None:
        """Wait for a watch that ends by an error."""
        self._thread.join(30)
        assert not self._thread.is_alive()

    def stop(self) -> polyexport.RunReport:
        self.cancel.set()
        self.end()
        assert self.error is None
        assert self.report is not None
        return self.report


Start = Callable[..., Watching]


@pytest.fixture
def start(tmp_path: Path, model: polyexport.Model) -> Iterator[Start]:
    started: list[Watching] = []

    def go(**options: object) -> Watching:
        (tmp_path / "in").mkdir(exist_ok=True)
        output = tmp_path / str(options.pop("output", "out"))
        started.append(Watching(tmp_path / "in", output, **{"model": model} | options))  # type: ignore[arg-type]
        return started[-1]

    yield go
    for one in started:
        one.cancel.set()
        one.end()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir(exist_ok=True)
    return tmp_path / "in"


def draw(path: Path, seed: int = 0) -> np.ndarray:
    """Write a picture; returns what the model makes of it."""
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, format="PNG")
    return 255 - pixels


def is_right(path: Path, expected: np.ndarray) -> bool:
    return np.array_equal(read_image(path).pixels, expected)


def outputs(folder: Path) -> list[str]:
    found = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if not name.startswith(".polyexport"))


def lines(output: Path) -> int:
    return len((output / ".polyexport/journal.jsonl").read_bytes().splitlines())


def test_what_is_there_and_what_appears(start: Start, folder: Path, tmp_path: Path) -> None:
    first = draw(folder / "first.png", 1)
    watch = start(recursive=True)
    watch.until_done(("first.png", "ok"))
    second = draw(folder / "new" / "deep" / "second.png", 2)
    draw(tmp_path / "aside" / "third.png", 3)
    (tmp_path / "aside").rename(folder / "aside")  # a folder that comes with its files
    (folder / ".hidden.png").write_bytes((folder / "first.png").read_bytes())
    shutil.copy(folder / "first.png", folder / "first.png.part")
    done = [("first.png", "ok"), ("new/deep/second.png", "ok"), ("aside/third.png", "ok")]
    watch.until_done(*done)
    report = watch.stop()

    assert (report.ok, report.failed, report.written, report.cancelled) == (3, 0, 3, True)
    assert watch.events[-1] == RunFinished(report=report)
    assert outputs(watch.output) == sorted(name for name, _ in done)
    assert is_right(watch.output / "first.png", first)
    assert is_right(watch.output / "new/deep/second.png", second)

    again = start(recursive=True)
    again.until_waiting()
    assert sorted(again.results) == sorted((name, "skipped") for name, _ in done)
    assert again.stop().written == 0
    assert lines(watch.output) == 3


def test_an_empty_folder_is_watched_and_leaves_nothing(start: Start) -> None:
    watch = start()
    watch.until_waiting()
    assert watch.stop().images == 0
    assert not watch.output.exists()


def test_a_file_that_is_written_in_parts_is_made_when_it_is_whole(start: Start, folder: Path) -> None:
    watch = start()
    watch.until_waiting()
    expected = draw(folder.parent / "whole.png", 4)
    data = (folder.parent / "whole.png").read_bytes()
    with (folder / "a.png").open("wb") as file:
        file.write(data[:200])
        file.flush()
        time.sleep(0.6)  # longer than a file settles, shorter than the grace
        file.write(data[200:])
    watch.until_done(("a.png", "ok"))
    assert is_right(watch.output / "a.png", expected)
    watch.stop()
    assert lines(watch.output) == 1


@pytest.mark.slow
def test_a_file_that_stays_broken_fails_once_and_is_made_when_it_is_mended(start: Start, folder: Path) -> None:
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    watch = start()
    watch.until_done(("a.png", "failed"))
    expected = draw(folder / "a.png", 5)
    watch.until_done(("a.png", "failed"), ("a.png", "ok"))
    assert is_right(watch.output / "a.png", expected)
    assert (watch.stop().failed, lines(watch.output)) == (1, 2)


def test_a_file_that_changes_or_is_replaced_is_made_again(start: Start, folder: Path, tmp_path: Path) -> None:
    draw(folder / "a.png", 1)
    watch = start()
    watch.until_done(("a.png", "ok"))
    expected = draw(folder / "a.png", 2)
    watch.until_done(("a.png", "ok"), ("a.png", "ok"))
    assert is_right(watch.output / "a.png", expected)
    expected = draw(tmp_path / "b.png", 3)
    (tmp_path / "b.png").replace(folder / "a.png")
    watch.until(lambda: len(watch.results) == 3)
    assert is_right(watch.output / "a.png", expected)
    os.utime(folder / "a.png")  # the same content
    watch.until(lambda: len(watch.results) == 4)
    assert watch.results[-1] == ("a.png", "skipped")
    watch.stop()
    journal = read_journal(watch.output)
    assert journal is not None
    journal.close()
    assert lines(watch.output) == 3


@pytest.mark.slow
def test_files_that_disappear_or_shrink_never_stop_a_watch(start: Start, folder: Path) -> None:
    draw(folder / "shrinks.png", 1)
    watch = start()
    watch.until_done(("shrinks.png", "ok"))
    for number in range(20):
        draw(folder / f"gone{number}.png", number)
    os.truncate(folder / "shrinks.png", 60)
    time.sleep(0.05)
    for number in range(20):
        (folder / f"gone{number}.png").unlink()
    watch.until(lambda: ("shrinks.png", "failed") in watch.results)
    assert not [result for result in watch.results if result == ("shrinks.png", "skipped")]
    draw(folder / "last.png", 9)
    watch.until(lambda: ("last.png", "ok") in watch.results)
    assert {name for name, status in watch.results if status == "failed"} == {"shrinks.png"}
    watch.stop()


@pytest.mark.slow
def test_an_output_inside_the_folder_is_no_input(start: Start, folder: Path) -> None:
    draw(folder / "a.png", 1)
    watch = start(output="in/out", recursive=True)
    watch.until_done(("a.png", "ok"))
    draw(folder / "b.png", 2)
    watch.until_done(("a.png", "ok"), ("b.png", "ok"))
    time.sleep(1.5)  # the folder is listed once more by then
    watch.until_done(("a.png", "ok"), ("b.png", "ok"))
    watch.stop()


@pytest.mark.slow
def test_one_mask_for_all_images_is_no_input(start: Start, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mask.onnx").write_bytes(version3_bytes("mask in"))
    Image.fromarray(np.full((12, 16), 7, np.uint8)).save(folder / "mask.png")
    draw(folder / "a.png", 1)
    watch = start(model=tmp_path / "mask.onnx", pictures={"mask": folder / "mask.png"}, provider="cpu")
    watch.until_done(("a.png", "ok"))
    draw(folder / "b.png", 2)
    watch.until_done(("a.png", "ok"), ("b.png", "ok"))
    expected = read_image(folder / "b.png").pixels.astype(int) - 7
    assert is_right(watch.output / "b.png", expected.clip(0).astype(np.uint8))
    watch.stop()


def test_outputs_keep_their_names(start: Start, folder: Path) -> None:
    jpg = draw(folder / "a.jpg", 1)
    watch = start()
    watch.until_done(("a.jpg", "ok"))
    png = draw(folder / "a.png", 2)
    watch.until_done(("a.jpg", "ok"), ("a.png", "ok"))
    watch.stop()
    for _ in range(2):
        assert outputs(watch.output) == ["a.png", "a.png.png"]
        assert is_right(watch.output / "a.png", jpg)
        assert is_right(watch.output / "a.png.png", png)
        again = start()
        again.until_waiting()
        assert sorted(again.results) == [("a.jpg", "skipped"), ("a.png", "skipped")]
        assert again.stop().written == 0


@pytest.mark.slow
def test_a_file_that_no_run_made_stops_the_start_and_later_fails_one(start: Start, folder: Path) -> None:
    draw(folder / "a.png", 1)
    foreign = folder.parent / "out" / "a.png"
    draw(foreign, 7)
    watch = start()
    watch.end()
    assert isinstance(watch.error, UsageError)
    assert "were not made by a run" in str(watch.error)
    foreign.unlink()

    watch = start()
    watch.until_done(("a.png", "ok"))
    draw(folder.parent / "out" / "b.png", 7)
    (folder.parent / "out" / "c.png").mkdir()
    before = (folder.parent / "out" / "b.png").read_bytes()
    for name in ("b.png", "c.png", "d.png"):
        draw(folder / name, 2)
    watch.until_done(("a.png", "ok"), ("b.png", "failed"), ("c.png", "failed"), ("d.png", "ok"))
    assert (folder.parent / "out" / "b.png").read_bytes() == before
    watch.stop()
    watch = start(overwrite=True)
    watch.until(lambda: len(watch.results) == 4)
    assert ("b.png", "ok") in watch.results


@pytest.mark.parametrize("how", ["removed", pytest.param("moved", marks=pytest.mark.slow)])
def test_a_watched_folder_that_goes_ends_the_watch(start: Start, folder: Path, how: str) -> None:
    draw(folder / "a.png", 1)
    watch = start()
    watch.until_done(("a.png", "ok"))
    if how == "removed":
        shutil.rmtree(folder)
    else:
        folder.rename(folder.with_name("elsewhere"))
    watch.end()
    assert isinstance(watch.error, PolyexportError)
    assert "was removed, moved or replaced" in str(watch.error)
    assert outputs(watch.output) == ["a.png"]
    assert not (watch.output / ".polyexport" / "lock").exists()


@pytest.mark.slow
def test_a_removed_output_folder_and_a_second_watch(start: Start, folder: Path) -> None:
    draw(folder / "a.png", 1)
    watch = start()
    watch.until_done(("a.png", "ok"))
    second = start()
    second.end()
    assert isinstance(second.error, OutputError)
    assert "another run writes" in str(second.error)
    shutil.rmtree(watch.output)
    draw(folder / "b.png", 2)
    watch.end()
    assert isinstance(watch.error, OutputError)


@pytest.mark.slow
def test_what_the_system_does_not_tell_is_found_by_listing(
    start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_run, "_LISTING_S", 0.3)
    monkeypatch.setattr(changes.FolderChanges, "take", lambda self: set())
    draw(folder / "a.png", 1)
    watch = start(recursive=True)
    watch.until_done(("a.png", "ok"))
    draw(folder / "a.png", 2)
    draw(folder / "b" / "c.png", 3)
    watch.until_done(("a.png", "ok"), ("a.png", "ok"), ("b/c.png", "ok"))
    (folder / "a.png").unlink()
    draw(folder / "a.jpg", 4)
    watch.until(lambda: ("a.jpg", "ok") in watch.results)
    watch.stop()


@pytest.mark.slow
def test_a_system_that_tells_nothing_is_said(start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import watchfiles

    def refuse(*paths: object, **options: object) -> object:
        raise OSError("OS file watch limit reached")

    monkeypatch.setattr(watchfiles, "watch", refuse)
    watch = start()
    watch.until_waiting()
    draw(folder / "a.png", 1)
    watch.until_done(("a.png", "ok"))
    failed = [event for event in watch.events if isinstance(event, NotificationsFailed)]
    assert failed == [NotificationsFailed(reason="OS file watch limit reached")]
    watch.stop()


def test_a_missing_package_is_named_before_anything_is_done(folder: Path, model: polyexport.Model) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(PolyexportError, match=r"pip install 'polyexport\[watch\]'"):
            polyexport.infer_folder(folder, model=model, output=folder.parent / "out", watch=True)
    assert not (folder.parent / "out").exists()


def test_an_error_of_the_callback_ends_a_watch(folder: Path, model: polyexport.Model) -> None:
    draw(folder / "a.png", 1)

    def on_event(event: Event) -> None:
        if isinstance(event, WatchWaiting):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        polyexport.infer_folder(folder, model=model, output=folder.parent / "out", watch=True, on_event=on_event)
    assert outputs(folder.parent / "out") == ["a.png"]


def test_a_cancelled_watch_drops_its_batch_and_carries_on(start: Start, folder: Path) -> None:
    for number in range(150):
        draw(folder / f"{number}.png", number)
    watch = start()
    watch.until(lambda: watch.results)
    made = watch.stop().written
    assert 0 < made <= 150
    again = start()
    again.until_waiting()
    again.stop()
    assert sorted({name for name, _ in again.results}) == outputs(watch.output)
    assert len(again.results) == 150
    assert lines(watch.output) == 150


def test_a_replaced_output_does_not_fill_the_memory(tmp_path: Path) -> None:
    from polyexport.pipeline.outputs.disk import OutputFolder
    from polyexport.pipeline.outputs.journal import Record

    with OutputFolder(tmp_path / "out") as folder:
        journal = folder.journal
        assert journal.record("a.png") is None
        journal.follows = True
        hashes = [f"{number:064x}" for number in range(1, 100)]
        for sha256 in hashes:
            journal.append([("a.png", Record("1" * 64, "2" * 64, sha256))])
        journal.append([("a.png", Record("3" * 64, "4" * 64, "", "no picture"))])
        assert journal.record("a.png") == Record("3" * 64, "4" * 64, "", "no picture")
        assert [journal.made("a.png", sha256) for sha256 in hashes] == [False] * 91 + [True] * 8
    reread = read_journal(tmp_path / "out")
    assert reread is not None
    assert all(reread.made("a.png", sha256) for sha256 in hashes)
    reread.close()
