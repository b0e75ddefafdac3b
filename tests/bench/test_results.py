import json
from dataclasses import replace
from pathlib import Path

import pytest

from polyexport.bench.document import SCHEMA, BenchReport, Row
from polyexport.bench.html import render_results
from polyexport.bench.results import Results, read_results, result_lines
from polyexport.errors import UsageError


def steady(row: Row, image_ms: float) -> Row:
    return replace(row, stable=True, image_ms=image_ms, images_per_s=1e3 / image_ms, cpu_ms_per_image=2 * image_ms)


@pytest.fixture
def report(full_report: BenchReport) -> BenchReport:
    rows = tuple(steady(row, 4.0) for row in full_report.rows if row.scenario != "cold-start")
    return replace(full_report, rows=rows, measured_at="2026-03-01T10:00:00+00:00")


@pytest.fixture
def folder(report: BenchReport, tmp_path: Path) -> Path:
    """A folder of three reports, and of four files that are none."""
    later = replace(
        report,
        measured_at="2026-04-01T10:00:00+00:00",
        environment=replace(report.environment, cpu="Another CPU", numpy="9.9"),
        rows=tuple(steady(row, 2.0) for row in report.rows),
    )
    unstable = replace(
        report,
        model=replace(report.model, sha256="f" * 64),
        rows=tuple(replace(row, stable=False, call_ms=None, image_ms=None, images_per_s=None) for row in report.rows),
    )
    for name, one in {"a": report, "b": later, "c": unstable}.items():
        (tmp_path / f"{name}.json").write_text(one.to_json())
    (tmp_path / "cut.json").write_text(report.to_json()[:900])
    (tmp_path / "nan.json").write_text(report.to_json().replace("4.0", "NaN"))
    (tmp_path / "other.json").write_text('{"runs": []}')
    (tmp_path / "newer.json").write_text(report.to_json().replace(f'"schema": {SCHEMA}', '"schema": 99', 1))
    (tmp_path / "notes.txt").write_text("not a result")
    return tmp_path


def test_bad_files_are_named_and_the_others_are_shown(folder: Path) -> None:
    results = read_results([folder, folder / "a.json"])
    assert list(results.reports) == ["b.json", "a.json", "c.json"]  # the latest first
    told = {Path(path).name: reason for path, reason in results.refused.items()}
    assert sorted(told) == ["cut.json", "nan.json", "newer.json", "other.json"]
    assert "cut short" in told["cut.json"]
    assert "NaN" in told["nan.json"]
    assert f"schema 99, expected 1 to {SCHEMA}; measure again" in told["newer.json"]
    assert "no number as its schema" in told["other.json"]


def test_the_same_measurements_stand_together_the_fastest_first(folder: Path) -> None:
    lines = read_results([folder]).lines()
    assert [line.file for line in lines if line.name == "batch 3"] == ["b.json", "a.json", "c.json"]
    assert [line.scenario for line in lines] == ["latency"] * 3 + ["throughput"] * 6
    assert lines[0].images_per_s == 500


def test_differences_are_named(folder: Path) -> None:
    results = read_results([folder])
    apart = results.differences()
    assert any("cpu: " in line and "Another CPU" in line for line in apart["a.json"])
    assert any(line.startswith("model's sha256: ffff") for line in apart["c.json"])
    text = "\n".join(result_lines(results))
    assert "a.json differs from b.json: " in text
    assert text.count("UNSTABLE") == 3


def test_the_page(folder: Path) -> None:
    results = read_results([folder])
    page = render_results(results)
    assert page == render_results(results)
    assert "<script" not in page
    assert "://" not in page.replace("http://www.w3.org", "")
    for part in (
        "a.json",
        "cut.json",
        "Another CPU",
        "2026-04-01 10:00",
        "UNSTABLE",
        "FAILED",
        "openvino",
        "500.0",
        "<svg",
    ):
        assert part in page
    assert json.loads(results.to_json())["refused"].keys() == results.refused.keys()


def test_a_page_without_a_figure(folder: Path) -> None:
    page = render_results(read_results([folder / "c.json"]))
    assert "<svg" not in page
    assert "UNSTABLE" in page


def test_hostile_names_are_text(folder: Path, report: BenchReport) -> None:
    name = "<script>alert(1)</script>$\\frac{1}{2}$"
    hostile = replace(
        report, model=replace(report.model, name=name), rows=tuple(replace(row, name=name) for row in report.rows)
    )
    assert "<script" not in render_results(Results(reports={name: hostile, "b": report}, refused={name: name}))


def test_nothing_to_show(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no file that ends in .json"):
        read_results([tmp_path / "empty"])
    with pytest.raises(UsageError, match="none of 2 files is a bench report: .*cut.json is not JSON"):
        read_results([folder / "cut.json", folder / "missing.json"])


def test_too_many_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyexport.bench.results._MAX_FILES", 6)
    with pytest.raises(UsageError, match="got 7 files, more than 6"):
        read_results([folder])
