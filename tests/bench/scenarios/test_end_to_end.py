from dataclasses import replace
from pathlib import Path

import pytest

from polyexport.bench.scenarios.end_to_end import EndToEnd
from polyexport.bench.scenarios.scenario import Settings, Subject
from polyexport.errors import UsageError

SHORT = Settings(seconds=0.01)


def test_it_goes_over_the_users_folder_and_leaves_nothing(
    subject: Subject, drawings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    (drawings / "broken.png").write_bytes(b"no picture")
    before = sorted(drawings.iterdir())
    (row,) = EndToEnd(images=drawings).measure(subject, SHORT, print)
    assert (row.name, row.note) == ("folder", "6 images a run, 1 failed")
    assert all(window.samples >= 2 for window in row.windows)  # six runs give the median an interval
    assert sorted(drawings.iterdir()) == before
    assert list(scratch.iterdir()) == []


def test_a_folder_without_a_readable_image(subject: Subject, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match="none of 1 images"):
        EndToEnd(images=tmp_path).measure(subject, SHORT, print)


def test_generated_drawings_stand_in_for_a_folder(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyexport.bench.inputs._DRAWINGS", 8)
    (row,) = EndToEnd().measure(subject, replace(SHORT, size=16), print)
    assert (row.name, row.note) == ("generated", "8 images a run")
