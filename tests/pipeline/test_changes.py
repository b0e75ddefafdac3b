"""Inputs that are replaced after they were found, and a clock that is set back while a run goes on."""

import hashlib
import itertools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from color_settings import setting

from polyexport.pipeline.plan import make_plan
from polyexport.pipeline.results import ItemResult, RunReport

RED = (setting("red"),)

Colorize = Callable[..., tuple[RunReport, dict[str, ItemResult]]]


def journal(folder: Path) -> dict[str, dict[str, str]]:
    """Latest line of the journal for each output."""
    lines = map(json.loads, (folder / ".polyexport" / "journal.jsonl").read_text().splitlines())
    return {line["output"]: line for line in lines}


@pytest.mark.parametrize("by", ["other content", "a link to elsewhere"])
def test_an_input_that_is_replaced_by_another_image_is_colored_and_recorded_as_that(
    colorize: Colorize, drawings: Path, tmp_path: Path, by: str
) -> None:
    colorize(tmp_path / "expected", RED)
    plan = make_plan([drawings], RED, output=tmp_path / "out")
    other = (drawings / "1.png").read_bytes()
    (drawings / "0.png").unlink()
    if by == "other content":
        (drawings / "0.png").write_bytes(other)
    else:
        (tmp_path / "elsewhere.png").write_bytes(other)
        (drawings / "0.png").symlink_to(tmp_path / "elsewhere.png")
    report, _ = colorize(tmp_path / "out", plan=plan)
    assert (report.ok, report.failed) == (6, 0)
    expected = (tmp_path / "expected" / "red" / "1.png").read_bytes()
    assert (tmp_path / "out" / "red" / "0.png").read_bytes() == expected
    assert journal(tmp_path / "out")["red/0.png"]["input"] == hashlib.sha256(other).hexdigest()
    assert colorize(tmp_path / "out", plan=plan)[0].skipped == 6


def put_pipe(path: Path) -> None:
    os.mkfifo(path)


def put_folder(path: Path) -> None:
    path.mkdir()


def put_link_to_nowhere(path: Path) -> None:
    path.symlink_to(path.with_name("missing"))


def put_link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def put_link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def put_text(path: Path) -> None:
    path.write_text("no picture")


@pytest.mark.parametrize(
    "put", [put_pipe, put_folder, put_link_to_nowhere, put_link_to_itself, put_link_to_a_device, put_text]
)
def test_an_input_that_is_replaced_by_something_else_fails_alone(
    colorize: Colorize, drawings: Path, tmp_path: Path, put: Callable[[Path], None]
) -> None:
    plan = make_plan([drawings], RED, output=tmp_path / "out")
    (drawings / "0.png").unlink()
    put(drawings / "0.png")
    report, results = colorize(tmp_path / "out", plan=plan)
    assert (report.ok, report.failed) == (5, 1)
    assert results["0.png"].reason
    assert not (tmp_path / "out" / "red" / "0.png").exists()


def test_a_clock_that_is_set_back_changes_nothing(
    colorize: Colorize, drawings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The latest record of an output is the last line, a lock ends with its process, and content decides on reruns."""
    backwards = itertools.count(2_000_000_000, -1_000_000)
    monkeypatch.setattr(time, "time", lambda: float(next(backwards)))
    assert colorize(tmp_path / "out", RED)[0].ok == 6
    (drawings / "0.png").write_bytes((drawings / "1.png").read_bytes())
    os.utime(drawings / "0.png", (0, 0))
    report, _ = colorize(tmp_path / "out", RED)
    assert (report.ok, report.skipped) == (1, 5)
    out = tmp_path / "out" / "red"
    assert (out / "0.png").read_bytes() == (out / "1.png").read_bytes()
    assert colorize(tmp_path / "out", RED)[0].skipped == 6
