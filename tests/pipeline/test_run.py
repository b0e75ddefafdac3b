"""A folder in, a folder out, with every kind of input and fault on the way."""

import errno
import json
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from color_settings import color, setting
from PIL import Image

from polyexport.errors import OutputError, UsageError
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.pixels import read_image
from polyexport.model.canvas import Canvas
from polyexport.model.model import Model
from polyexport.model.result import ResultFields
from polyexport.pipeline import finishing
from polyexport.pipeline.decoding.pool import DecodingPool
from polyexport.pipeline.finishing import Finishing
from polyexport.pipeline.inputs.manifest import Entry
from polyexport.pipeline.job import Job
from polyexport.pipeline.outputs import staging, store
from polyexport.pipeline.outputs.disk import OutputFolder
from polyexport.pipeline.pipe import run_one
from polyexport.pipeline.plan import make_plan, plan_entries
from polyexport.pipeline.preview import Preview, preview
from polyexport.pipeline.results import ItemResult, RunReport
from polyexport.storage.spelling import Spelling

RED, BLUE = COLORS = (setting("red"), setting("#0080ff"))
PARSED = [color(one) for one in COLORS]

Colorize = Callable[..., tuple[RunReport, dict[str, ItemResult]]]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


def strays(folder: Path) -> list[str]:
    """Whatever should not be left: everything hidden but the journal."""
    return [str(path) for path in folder.rglob(".polyexport/*") if path.name != "journal.jsonl"]


def test_every_output_is_what_the_model_says(
    colorize: Colorize, drawings: Path, tiny_model: Model, tmp_path: Path
) -> None:
    report, results = colorize(tmp_path / "out", size="native")

    assert (report.written, report.ok, report.failed, report.skipped) == (12, 6, 0, 0)
    assert report.execution_provider == "CPUExecutionProvider"
    assert all(result.written == 2 and result.timings.infer_ms > 0 for result in results.values())
    for file in sorted(drawings.iterdir()):
        expected = tiny_model.colorize([file], PARSED, size="native")[0]
        for one, pixels in zip(PARSED, expected, strict=True):
            assert np.array_equal(read_image(tmp_path / "out" / one.name / file.name).pixels, pixels)
    assert strays(tmp_path / "out") == []


@pytest.mark.parametrize("size", ["fit", "native"])
def test_batches_jobs_and_sizes_do_not_change_a_byte(
    colorize: Colorize, drawings: Path, tmp_path: Path, size: str
) -> None:
    for number, extent in enumerate([(10, 90), (33, 64), (64, 64), (1, 1), (100, 7)]):
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (*extent, 3), dtype=np.uint8)).save(
            drawings / f"odd{number}.png"
        )
    for number, (batch_size, threads) in enumerate([(1, 1), (2, 2), (8, 1), (100, 0)]):
        colorize(tmp_path / str(number), size=size, batch_size=batch_size, threads=threads)
    first = tree(tmp_path / "0")

    assert len(first) == 22
    assert all(tree(tmp_path / str(number)) == first for number in range(1, 4))


@pytest.mark.parametrize("size", ["fit", "native"])
def test_a_model_of_fills_makes_what_colorize_makes(
    colorize: Colorize, tiny_model: Model, decoders: DecodingPool, drawings: Path, tmp_path: Path, size: str
) -> None:
    Image.new("RGB", (700, 600), "white").save(drawings / "blank.png")
    large = Image.open(drawings / "0.png").resize((620, 530))  # its ink waits packed
    large.save(drawings / "large.png")
    model = Model(
        replace(tiny_model.contract, result=ResultFields(kind="fill")), tiny_model.session, sha256=tiny_model.sha256
    )
    colorize(tmp_path / "out", model=model, size=size)
    for path in sorted(drawings.glob("*.png")):
        [expected] = model.colorize([path], PARSED, size=size)  # type: ignore[arg-type]
        for given, one in zip(PARSED, expected, strict=True):
            assert (tmp_path / "out" / given.name / path.name).read_bytes() == encode_png(one)
        piped = run_one(str(path), COLORS[0], model, decoders, size=size)  # type: ignore[arg-type]
        assert piped.data == encode_png(expected[0])


def test_bad_files_fail_alone_each_with_its_reason(colorize: Colorize, drawings: Path, tmp_path: Path) -> None:
    good = tree(drawings)
    (drawings / "empty.png").write_bytes(b"")
    (drawings / "text.png").write_text("not a picture")
    (drawings / "cut.png").write_bytes(good["3.png"][:-40])
    (drawings / "mislabelled.jpg").write_bytes(good["1.png"])
    os.mkfifo(drawings / "pipe.png")
    report, results = colorize(tmp_path / "out")
    reasons = {name: result.reason for name, result in results.items() if result.status == "failed"}

    assert sorted(reasons) == ["cut.png", "empty.png", "pipe.png", "text.png"]
    assert "empty" in reasons["empty.png"]
    assert "known format" in reasons["text.png"]
    assert "truncated" in reasons["cut.png"]
    assert "regular file" in reasons["pipe.png"]
    assert (report.written, report.failed) == (14, 4)
    assert len(tree(tmp_path / "out")) == 14


def test_a_file_that_vanishes_fails_alone(colorize: Colorize, drawings: Path, tmp_path: Path) -> None:
    plan = make_plan([drawings], COLORS, output=tmp_path / "out")
    (drawings / "2.png").unlink()
    _, results = colorize(tmp_path / "out", plan=plan)
    assert [name for name, result in results.items() if result.status == "failed"] == ["2.png"]


def test_results_come_once_per_input_and_in_the_plans_order(colorize: Colorize, drawings: Path, tmp_path: Path) -> None:
    """Whatever their shapes, which decide the batches, and however early they fail."""
    for number in range(40):
        Image.new("RGB", (16 * (1 + number % 3), 16), "white").save(drawings / f"{number:02}.png")
        (drawings / f"{number:02}-bad.png").write_bytes(b"")
    seen: list[str] = []
    plan = make_plan([drawings], COLORS, output=tmp_path / "out")
    colorize(
        tmp_path / "out", plan=plan, size="native", batch_size=8, on_result=lambda result: seen.append(result.item.name)
    )
    assert seen == [item.name for item in plan.items]


def test_a_manifest_gives_each_input_its_colors(
    colorize: Colorize, drawings: Path, tiny_model: Model, tmp_path: Path
) -> None:
    entries = [Entry(str(drawings / f"{n}.png"), f"{n}.png", one) for n, one in ((0, RED), (1, BLUE), (1, RED))]
    report, _ = colorize(tmp_path / "out", plan=plan_entries(entries, output=tmp_path / "out"))

    assert report.written == 3
    assert list(tree(tmp_path / "out")) == ["0080ff/1.png", "red/0.png", "red/1.png"]
    expected = tiny_model.colorize([drawings / "1.png"], [color(BLUE)])[0][0]
    assert np.array_equal(read_image(tmp_path / "out/0080ff/1.png").pixels, expected)


def test_transparent_paper_over_white_is_the_usual_output(colorize: Colorize, tmp_path: Path) -> None:
    colorize(tmp_path / "white")
    colorize(tmp_path / "clear", finishing=Finishing(background="transparent"))
    for name, white in tree(tmp_path / "white").items():
        with Image.open(tmp_path / "clear" / name) as image:
            assert image.mode == "RGBA"
        difference = (
            read_image(tmp_path / "clear" / name).pixels.astype(int) - read_image(tmp_path / "white" / name).pixels
        )
        assert np.abs(difference).max() <= 1
        assert white != (tmp_path / "clear" / name).read_bytes()


# A rerun


def test_a_rerun_does_nothing_and_makes_what_is_missing(colorize: Colorize, drawings: Path, tmp_path: Path) -> None:
    colorize(tmp_path / "out")
    whole = tree(tmp_path / "out")
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")}
    report, results = colorize(tmp_path / "out")
    assert (report.ok, report.skipped, report.written) == (0, 6, 0)
    assert {result.reason for result in results.values()} == {"done before"}
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps

    (tmp_path / "out" / "red" / "3.png").unlink()
    os.utime(drawings / "1.png", (1, 1))  # times do not count
    report, _ = colorize(tmp_path / "out")
    assert (report.ok, report.skipped, report.written) == (1, 5, 1)
    assert tree(tmp_path / "out") == whole


def test_a_changed_input_color_size_or_model_is_done_anew(
    colorize: Colorize, drawings: Path, tiny_model: Model, shipped: Model, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    colorize(out)
    (drawings / "1.png").write_bytes((drawings / "2.png").read_bytes())
    report, _ = colorize(out)
    assert (report.written, report.skipped) == (2, 5)
    assert (out / "red/1.png").read_bytes() == (out / "red/2.png").read_bytes()

    report, _ = colorize(out, (RED, setting("blue")))
    assert (report.written, report.ok, report.skipped) == (6, 6, 0)

    for options in ({"size": "native"}, {"finishing": Finishing(background="transparent")}, {"model": shipped}):
        report, _ = colorize(out, (RED,), **options)
        assert (report.written, report.skipped) == (6, 0), options
    expected = shipped.colorize([drawings / "0.png"], [color(RED)])[0][0]
    assert np.array_equal(read_image(out / "red/0.png").pixels, expected)
    assert colorize(out, (RED,), model=shipped)[0].skipped == 6


def test_files_that_no_run_made_are_kept_unless_told_otherwise(
    colorize: Colorize, drawings: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    colorize(out)
    whole = tree(out)
    (out / "red/1.png").write_bytes(b"retouched by hand")
    with pytest.raises(UsageError, match=r"1 of 12 outputs .* red/1.png.*--overwrite".replace(" red", r".*red")):
        colorize(out)
    assert (out / "red/1.png").read_bytes() == b"retouched by hand"
    report, _ = colorize(out, overwrite=True)
    assert report.written == 12
    assert tree(out) == whole


def test_failures_are_remembered_by_content_and_tried_again_when_asked(
    colorize: Colorize, drawings: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    good = (drawings / "0.png").read_bytes()
    (drawings / "bad.png").write_bytes(good[:-40])
    (drawings / "gone.png").symlink_to(drawings / "nowhere.png")
    assert colorize(out)[0].failed == 2
    report, results = colorize(out)
    assert (report.failed, report.skipped) == (2, 6)
    assert "--retry-failed" in results["bad.png"].reason
    assert "--retry-failed" not in results["gone.png"].reason  # it has no content that could be known
    _, results = colorize(out, retry_failed=True)
    assert "earlier run" not in results["bad.png"].reason
    (drawings / "bad.png").write_bytes(good)
    assert colorize(out)[0].written == 2


# Faults


def test_a_full_disk_ends_the_run_and_a_rerun_completes(
    colorize: Colorize, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    colorize(tmp_path / "whole")
    whole = tree(tmp_path / "whole")
    real = os.fsync
    for allowed in range(1, 16, 3):
        count = iter(range(10_000))

        def fsync(descriptor: int, count: object = count, allowed: int = allowed) -> None:
            if next(count) >= allowed:  # type: ignore[call-overload]
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(descriptor)

        with monkeypatch.context() as patch, DecodingPool(jobs=1) as processes:
            patch.setattr(os, "fsync", fsync)
            with pytest.raises(OutputError, match="No space left"):
                colorize(tmp_path / "out", processes=processes)
        assert tree(tmp_path / "out").items() <= whole.items()
        assert strays(tmp_path / "out") == []
    colorize(tmp_path / "out")
    assert tree(tmp_path / "out") == whole


def test_a_name_that_is_too_long_fails_alone(colorize: Colorize, drawings: Path, tmp_path: Path) -> None:
    (drawings / "0.png").rename(drawings / ("x" * 252 + ".gi"))
    name = "y" * 250 + ".gif"
    (drawings / "1.png").rename(drawings / name)
    (drawings / ("y" * 250 + ".png")).write_bytes((drawings / "2.png").read_bytes())
    report, results = colorize(tmp_path / "out")

    assert [name for name, result in results.items() if result.status == "failed"] == [name]
    assert report.written == 10


def test_out_of_memory_halves_the_batch_and_then_fails_one(
    colorize: Colorize, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Model.run_canvases
    sizes: list[int] = []

    def limited(self: Model, canvases: list[Canvas], settings: list[object], pictures: list[object]) -> object:
        sizes.append(len(canvases))
        if len(canvases) > 2:
            raise MemoryError("bad allocation")
        return real(self, canvases, settings, pictures)  # type: ignore[arg-type]

    monkeypatch.setattr(Model, "run_canvases", limited)
    assert colorize(tmp_path / "out", batch_size=8)[0].written == 12
    assert max(sizes) == 8
    assert sizes[-1] <= 2

    def broken(self: Model, canvases: list[Canvas], settings: list[object], pictures: list[object]) -> object:
        raise MemoryError("bad allocation")

    monkeypatch.setattr(Model, "run_canvases", broken)
    report, results = colorize(tmp_path / "none")
    assert report.failed == 6
    assert all("bad allocation" in result.reason for result in results.values())
    monkeypatch.undo()
    assert colorize(tmp_path / "none")[0].written == 12  # a lack of memory is not remembered


def test_a_stage_that_runs_out_of_memory_fails_that_image_alone(
    colorize: Colorize, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = iter(range(1000))

    def sometimes(pixels: np.ndarray) -> bytes:
        if next(count) == 3:
            raise MemoryError
        return encode_png(pixels)

    monkeypatch.setattr(finishing, "encode_png", sometimes)
    report, results = colorize(tmp_path / "out")

    assert (report.failed, report.written) == (1, 11)
    assert "MemoryError" in next(result.reason for result in results.values() if result.reason)


@pytest.mark.parametrize("when", [1, 4, 6])
def test_an_interrupt_leaves_whole_files_and_a_rerun_completes(colorize: Colorize, tmp_path: Path, when: int) -> None:
    def interrupt(result: ItemResult) -> None:
        seen.append(result)
        if len(seen) == when:
            raise KeyboardInterrupt

    seen: list[ItemResult] = []
    with DecodingPool(jobs=2) as processes, pytest.raises(KeyboardInterrupt):
        colorize(tmp_path / "out", batch_size=1, processes=processes, on_result=interrupt)

    names = ("decode", "network", "encode", "publish")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(names) and thread.name[-2] == "_"]
    assert strays(tmp_path / "out") == []
    report, _ = colorize(tmp_path / "out")
    assert report.skipped >= when - 1
    colorize(tmp_path / "whole")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_memory_is_bounded_whatever_the_folder(
    colorize: Colorize, drawings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images decoded and not yet staged never exceed the windows of the stages."""
    for number in range(234):
        (drawings / f"more{number}.png").write_bytes((drawings / "0.png").read_bytes())
    decoded = staged = most = 0
    lock = threading.Lock()
    real_decode, real_stage = DecodingPool.decode_all, OutputFolder.stage

    def decode(self: DecodingPool, sources: Sequence[str], *arguments: object, **options: object) -> object:
        nonlocal decoded, most
        with lock:
            decoded += len(sources)
            most = max(most, decoded - staged)
        return real_decode(self, sources, *arguments, **options)  # type: ignore[arg-type]

    def stage(self: OutputFolder, data: bytes) -> str:
        nonlocal staged
        name = real_stage(self, data)
        with lock:
            staged += 1
        return name

    monkeypatch.setattr(DecodingPool, "decode_all", decode)
    monkeypatch.setattr(OutputFolder, "stage", stage)
    colorize(tmp_path / "out", (RED,), batch_size=2)
    assert staged == 241  # one of them tried whether the folder can be written
    assert 16 <= most <= 152


def test_the_journal_stays_small_when_nothing_is_to_do(colorize: Colorize, tmp_path: Path) -> None:
    journal = tmp_path / "out/.polyexport/journal.jsonl"
    colorize(tmp_path / "out")
    before = journal.read_text()
    assert len(before.splitlines()) == 12
    assert {json.loads(line)["output"] for line in before.splitlines()} == set(tree(tmp_path / "out"))
    colorize(tmp_path / "out")
    assert journal.read_text() == before


def test_names_that_differ_only_in_case_are_two_outputs_where_the_disk_tells_them_apart(
    colorize: Colorize, drawings: Path, tmp_path: Path
) -> None:
    (drawings / "A.png").write_bytes((drawings / "0.png").read_bytes())
    (drawings / "a.png").write_bytes((drawings / "1.png").read_bytes())
    if len(list(drawings.glob("[aA].png"))) == 1:
        pytest.skip("this disk ignores case")
    report, _ = colorize(tmp_path / "out", (RED,))
    assert (report.ok, report.failed) == (8, 0)
    found = tree(tmp_path / "out")
    assert (found["red/A.png"], found["red/a.png"]) == (found["red/0.png"], found["red/1.png"])
    assert strays(tmp_path / "out") == []


def test_names_that_a_disk_does_not_tell_apart_fail_alone_whichever_comes_first(
    colorize: Colorize, drawings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (drawings / "a.png").write_bytes((drawings / "0.png").read_bytes())
    assert colorize(tmp_path / "out", (RED,))[0].ok == 7
    (drawings / "A.png").write_bytes((drawings / "1.png").read_bytes())
    (drawings / "B.png").write_bytes((drawings / "1.png").read_bytes())
    (drawings / "b.png").write_bytes(b"no picture")
    monkeypatch.setattr(staging, "probe_spelling", lambda path, dir_fd: Spelling(ignores_case=True))
    report, results = colorize(tmp_path / "out", (RED,))

    assert (report.skipped, report.failed) == (6, 4)
    assert {name for name, result in results.items() if result.status == "failed"} == {
        "a.png",
        "A.png",
        "b.png",
        "B.png",
    }
    assert "which this disk does not tell from a.png" in results["A.png"].reason
    assert {"red/A.png", "red/b.png", "red/B.png"}.isdisjoint(tree(tmp_path / "out"))
    with OutputFolder(tmp_path / "out") as folder:
        record = folder.journal.record("red/A.png")
    assert record is not None
    assert record.failed == results["A.png"].reason

    (drawings / "A.png").rename(drawings / "c.png")  # as the message says; a rerun needs no option
    (drawings / "B.png").unlink()
    report, results = colorize(tmp_path / "out", (RED,))
    assert (results["a.png"].status, results["c.png"].status, results["b.png"].status) == ("ok", "ok", "failed")
    assert "no image of a known format" in results["b.png"].reason
    assert tree(tmp_path / "out")["red/c.png"] == tree(tmp_path / "out")["red/1.png"]


def test_a_preview_says_which_names_clash_and_writes_nothing(
    drawings: Path, tiny_model: Model, decoders: DecodingPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (drawings / "a.png").write_bytes((drawings / "0.png").read_bytes())
    (drawings / "A.png").write_bytes((drawings / "1.png").read_bytes())
    job = Job(plan=make_plan([drawings], (RED,), output=tmp_path / "out"))
    for ignores, clashing in ((False, None), (True, 2)):
        monkeypatch.setattr(store, "guess_spelling", lambda path, same=ignores: Spelling(ignores_case=same))
        counts = Preview()
        seen = {one.item.name: one for one in preview(job, tiny_model, decoders, counts)}
        assert counts.outputs.get("clashing") == clashing
        assert ("rename one of them" in seen["A.png"].reason) is ignores
    assert not (tmp_path / "out").exists()
