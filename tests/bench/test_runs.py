from dataclasses import replace
from pathlib import Path

import pytest

from polyexport.bench.options import BenchOptions, Subject
from polyexport.bench.runs import cold_start, end_to_end
from polyexport.errors import PolyexportError, UsageError


def quiet(line: str) -> None:
    pass


def test_end_to_end_goes_over_the_users_folder_and_leaves_nothing(
    subject: Subject, drawings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    (drawings / "broken.png").write_bytes(b"no picture")
    before = sorted(drawings.iterdir())
    (row,) = end_to_end(subject, BenchOptions(seconds=0.01, images=drawings), quiet)
    assert (row.name, row.note) == ("folder", "6 images a run, 1 failed")
    assert sum(window.samples for window in row.windows) >= 3
    assert sorted(drawings.iterdir()) == before
    assert list(scratch.iterdir()) == []


def test_a_folder_without_a_readable_image(subject: Subject, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match="none of 1 images"):
        end_to_end(subject, BenchOptions(seconds=0.01, images=tmp_path), quiet)


def test_generated_drawings_stand_in_for_a_folder(subject: Subject) -> None:
    (row,) = end_to_end(subject, BenchOptions(seconds=0.01, size=16), quiet)
    assert (row.name, row.note) == ("generated", "256 images a run")


def test_a_cold_start_in_stages(subject: Subject) -> None:
    rows = {row.name: row for row in cold_start(subject, BenchOptions(processes=3, batch_sizes=(2, 1), size=16), quiet)}
    assert list(rows) == [
        "whole process",
        "imports",
        "load the model",
        "first run of batch 1",
        "second run of batch 1",
        "first run of batch 2",
        "second run of batch 2",
    ]
    whole = rows["whole process"].windows
    parts = [row.windows for name, row in rows.items() if name != "whole process"]
    assert sum(part[0].p50_ms for part in parts) < whole[0].p50_ms
    assert all(sum(window.samples for window in row.windows) == 3 for row in rows.values())


def test_a_process_that_fails_says_why(subject: Subject, tiny_model_path: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(tiny_model_path.read_bytes()[:100])
    with pytest.raises(PolyexportError, match="cold-start failed"):
        cold_start(replace(subject, path=broken), BenchOptions(processes=3, size=16), quiet)
