import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from polyexport.color import parse_color
from polyexport.errors import OutputError
from polyexport.files import TEMPORARY_SUFFIX
from polyexport.framing import Framed, Framing
from polyexport.image import encode_png, read_image
from polyexport.model import Model
from polyexport.pipeline import run as module
from polyexport.pipeline.plan import make_plan
from polyexport.pipeline.run import ItemResult, RunOptions, RunReport, arrange, run_plan

COLORS = [parse_color("red"), parse_color("#0080ff")]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def run(drawings: Path, tiny_model: Model) -> Callable[..., RunReport]:
    def go(output: Path, size: str = "fit", **options: int) -> RunReport:
        plan = make_plan([drawings], COLORS, output=output, recursive=True, overwrite=True)
        framing = tiny_model.framing(size)  # type: ignore[arg-type]
        return run_plan(plan, tiny_model, framing, RunOptions(**options))

    return go


def test_every_output_is_what_the_model_says(
    run: Callable[..., RunReport], drawings: Path, tiny_model: Model, tmp_path: Path
) -> None:
    report = run(tmp_path / "out", "native")

    assert (report.written, report.failed, report.execution_provider) == (12, 0, "CPUExecutionProvider")
    for file in sorted(drawings.iterdir()):
        expected = tiny_model.colorize([file], COLORS, size="native")[0]
        for color, pixels in zip(COLORS, expected, strict=True):
            assert np.array_equal(read_image(tmp_path / "out" / color.name / file.name).pixels, pixels)


@pytest.mark.parametrize("size", ["fit", "native"])
def test_batches_jobs_and_sizes_do_not_change_a_byte(
    run: Callable[..., RunReport], drawings: Path, tmp_path: Path, size: str
) -> None:
    for number, extent in enumerate([(10, 90), (33, 64), (64, 64), (1, 1), (100, 7)]):
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (*extent, 3), dtype=np.uint8)).save(
            drawings / f"odd{number}.png"
        )
    for number, options in enumerate([(1, 1, 1), (2, 3, 2), (8, 2, 3), (100, 4, 1)]):
        run(tmp_path / str(number), size, batch_size=options[0], jobs=options[1], streams=options[2])
    first = tree(tmp_path / "0")

    assert len(first) == 22
    assert all(tree(tmp_path / str(number)) == first for number in range(1, 4))


def test_bad_files_fail_alone_each_with_its_reason(
    run: Callable[..., RunReport], drawings: Path, tmp_path: Path
) -> None:
    good = tree(drawings)
    (drawings / "empty.png").write_bytes(b"")
    (drawings / "text.png").write_text("not a picture")
    (drawings / "cut.png").write_bytes(good["3.png"][:-40])
    (drawings / "mislabelled.jpg").write_bytes(good["1.png"])
    os.mkfifo(drawings / "pipe.png")
    report = run(tmp_path / "out")
    reasons = {result.item.source.name: result.reason for result in report.results if result.status == "failed"}

    assert sorted(reasons) == ["cut.png", "empty.png", "pipe.png", "text.png"]
    assert "empty" in reasons["empty.png"]
    assert "known format" in reasons["text.png"]
    assert "truncated" in reasons["cut.png"]
    assert "regular file" in reasons["pipe.png"]
    assert report.written == 14
    assert len(tree(tmp_path / "out")) == 14


def test_a_file_that_vanishes_fails_alone(drawings: Path, tiny_model: Model, tmp_path: Path) -> None:
    plan = make_plan([drawings], COLORS, output=tmp_path / "out")
    (drawings / "2.png").unlink()
    report = run_plan(plan, tiny_model, tiny_model.framing(), RunOptions())
    assert [result.item.source.name for result in report.results if result.reason] == ["2.png"]


def test_results_come_once_per_input_and_in_the_plans_order(drawings: Path, tiny_model: Model, tmp_path: Path) -> None:
    seen: list[ItemResult] = []
    plan = make_plan([drawings], COLORS, output=tmp_path / "out")
    report = run_plan(plan, tiny_model, tiny_model.framing(), RunOptions(), on_result=seen.append)

    assert [result.item for result in report.results] == list(plan.items)
    assert sorted(map(id, seen)) == sorted(map(id, report.results))


def test_a_full_disk_ends_the_run_and_a_rerun_completes(
    run: Callable[..., RunReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "whole")
    whole = tree(tmp_path / "whole")
    real = os.fsync
    for allowed in range(1, len(whole) + 1, 3):
        count = iter(range(10_000))

        def fsync(descriptor: int, count: object = count, allowed: int = allowed) -> None:
            if next(count) >= allowed:  # type: ignore[call-overload]
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(descriptor)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            with pytest.raises(OutputError, match="No space left"):
                run(tmp_path / "out")
        partial = tree(tmp_path / "out")
        assert not [name for name in partial if name.endswith(TEMPORARY_SUFFIX)]
        assert partial.items() <= whole.items()
    run(tmp_path / "out")
    assert tree(tmp_path / "out") == whole


def test_a_name_that_is_too_long_fails_alone(run: Callable[..., RunReport], drawings: Path, tmp_path: Path) -> None:
    (drawings / "0.png").rename(drawings / ("x" * 252 + ".gif"[:3]))
    name = "y" * 250 + ".gif"
    (drawings / "1.png").rename(drawings / name)
    (drawings / ("y" * 250 + ".png")).write_bytes((drawings / "2.png").read_bytes())
    report = run(tmp_path / "out")

    assert [result.item.source.name for result in report.results if result.status == "failed"] == [name]
    assert report.written == 10


def test_out_of_memory_halves_the_batch_and_then_fails_one(
    run: Callable[..., RunReport], tiny_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Model.run_canvases
    sizes: list[int] = []

    def limited(self: Model, framed: list[Framed], colors: list[object]) -> object:
        sizes.append(len(framed))
        if len(framed) > 2:
            raise MemoryError("bad allocation")
        return real(self, framed, colors)  # type: ignore[arg-type]

    monkeypatch.setattr(Model, "run_canvases", limited)
    assert run(tmp_path / "out", batch_size=8).written == 12
    assert max(sizes) == 8

    def broken(self: Model, framed: list[Framed], colors: list[object]) -> object:
        raise MemoryError("bad allocation")

    monkeypatch.setattr(Model, "run_canvases", broken)
    report = run(tmp_path / "none")
    assert report.failed == 6
    assert all("bad allocation" in result.reason for result in report.results)


def test_an_interrupt_stops_the_threads_and_leaves_whole_files(
    drawings: Path, tiny_model: Model, tmp_path: Path
) -> None:
    def interrupt(result: ItemResult) -> None:
        raise KeyboardInterrupt

    plan = make_plan([drawings], COLORS, output=tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, tiny_model, tiny_model.framing(), RunOptions(batch_size=1), on_result=interrupt)

    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("decode", "network", "write"))]
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or read_image(path).pixels.shape == (64, 64, 3)


def test_memory_is_bounded_whatever_the_folder(
    drawings: Path, tiny_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images decoded and not yet written never exceed the windows of the three stages."""
    for number in range(100):
        (drawings / f"more{number}.png").write_bytes((drawings / "0.png").read_bytes())
    decoded = written = most = 0
    lock = threading.Lock()
    real_read, real_write = module.read_image, module.write_atomic

    def read(path: Path) -> object:
        nonlocal decoded, most
        with lock:
            decoded += 1
            most = max(most, decoded - written)
        return real_read(path)

    def write(path: Path, data: bytes) -> None:
        nonlocal written
        real_write(path, data)
        with lock:
            written += 1

    monkeypatch.setattr(module, "read_image", read)
    monkeypatch.setattr(module, "write_atomic", write)
    plan = make_plan([drawings], COLORS[:1], output=tmp_path / "out")
    run_plan(plan, tiny_model, tiny_model.framing(), RunOptions(batch_size=2, jobs=2))
    assert most <= 3 * 8 + 2 * 2


@pytest.mark.parametrize("values", [{"batch_size": 0}, {"jobs": 0}, {"batch_size": 5000}, {"streams": 0}])
def test_options_are_checked_when_built(values: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        RunOptions(**values)


@pytest.mark.parametrize("stage", ["frame", "encode"])
def test_a_stage_that_runs_out_of_memory_fails_that_image_alone(
    run: Callable[..., RunReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    count = iter(range(1000))

    def sometimes(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            if next(count) == 3:
                raise MemoryError
            return real(*arguments)

        return call

    if stage == "frame":
        monkeypatch.setattr(Framing, "frame", sometimes(Framing.frame))
    else:
        monkeypatch.setattr(module, "encode_png", sometimes(encode_png))
    report = run(tmp_path / "out", jobs=1)

    assert report.failed == 1
    assert report.written == (10 if stage == "frame" else 11)
    assert "MemoryError" in next(result.reason for result in report.results if result.reason)


@pytest.mark.parametrize(
    ("outputs", "threads", "cores", "expected"),
    [
        (1, 0, 2, (2, 1)),
        (8, 0, 2, (1, 2)),
        (1000, 0, 1, (1, 1)),
        (1000, 2, 8, (2, 4)),
        (1, 3, 2, (3, 1)),
        (31, 0, 8, (8, 1)),
    ],
)
def test_cores_are_shared_out(outputs: int, threads: int, cores: int, expected: tuple[int, int]) -> None:
    assert arrange(outputs, threads=threads, cores=cores) == expected
