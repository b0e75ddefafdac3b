import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyexport.bench.document import SCHEMA, BenchReport, read_report
from polyexport.bench.html import render
from polyexport.bench.table import lines
from polyexport.errors import UsageError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def report(full_report: BenchReport) -> BenchReport:
    return full_report


def test_what_is_written_is_read_again(report: BenchReport, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(report.to_json())
    assert read_report(path) == report


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "no number as its schema"),
        (b'{"schema": "1"}', "no number as its schema"),
        (b'{"schema": true}', "no number as its schema"),
        (b'{"schema": 99}', f"schema 99, expected 1 to {SCHEMA}"),
        (b'{"schema": 0}', f"schema 0, expected 1 to {SCHEMA}"),
        (b'{"schema": 1, "machine": null}', "it has machine, which schema 2 added"),
        (b'{"schema": 1, "rows": [{"outliers": 1}]}', "it has outliers, which schema 2 added"),
        (b'{"schema": 1, "gate": {"met": true, "verdict": "met"}}', "it has verdict, which schema 2 added"),
        (b'{"schema": 1, "rows": 5, "gate": []}', "stands in place of an object"),
        (b'{"schema": 1}', "lacks"),
        (b'{"schema": 1, "compared": 7}', "stands in place of an object"),
        (b'{"schema": 2}', "lacks"),
        (b'{"schema": 2, "rows": NaN}', "NaN is not a JSON number"),
        (b'{"schema": 2, "schema": 2}', "stands twice"),
    ],
)
def test_files_that_are_no_reports(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(content)
    with pytest.raises(UsageError) as refusal:
        read_report(path)
    assert told in refusal.value.message
    with pytest.raises(UsageError, match="cannot be read"):
        read_report(tmp_path / "missing.json")


def test_a_report_that_is_cut_short_anywhere(report: BenchReport, tmp_path: Path) -> None:
    text = report.to_json().rstrip()
    path = tmp_path / "report.json"
    for end in range(0, len(text), 997):
        path.write_text(text[:end])
        with pytest.raises(UsageError, match="cut short") as refusal:
            read_report(path)
        assert refusal.value.exit_code == 2
        assert "\n" not in str(refusal.value)


def test_a_report_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UsageError, match="more than the limit"):
        read_report(path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_value_of_anything_else_is_refused_or_of_its_type(
    report: BenchReport, tmp_path: Path, data: st.DataObject
) -> None:
    value = json.loads(report.to_json())
    where = data.draw(
        st.sampled_from(["environment", "machine", "model", "rows", "gate", "limits", "compared", "profile"])
    )
    inner = value[where][0] if isinstance(value[where], list) else value[where]
    inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(JSON)
    path = tmp_path / "report.json"
    path.write_text(json.dumps(value))
    try:
        found = read_report(path)
    except UsageError:
        return
    assert read_report(path) == found


def test_a_page_and_a_table_of_everything(report: BenchReport) -> None:
    page = render(report)
    assert page == render(report)
    assert "<script" not in page
    assert "://" not in page.replace("http://www.w3.org", "")
    assert page.count("<svg") == 4
    text = "\n".join(lines(report))
    for part in ("latency", "batch 3", "whole process", "onnxruntime-pool", "FAILED", "on the frontier", "Conv"):
        assert part in text
        assert part in page


def test_no_figure_stands_where_the_machine_was_not_steady(report: BenchReport) -> None:
    row = replace(report.rows[0], stable=False, call_ms=None, image_ms=None, images_per_s=None, target_ms=None)
    unstable = replace(report, rows=(row,))
    assert "UNSTABLE" in next(line for line in lines(unstable) if line.startswith("latency"))
    assert "UNSTABLE" in render(unstable)


def test_hostile_names_are_text(report: BenchReport) -> None:
    name = "<script>alert(1)</script>$\\frac{1}{2}$"
    hostile = replace(
        report,
        model=replace(report.model, name=name, fallback_reason=name),
        baseline=name,
        compared=tuple(replace(one, name=name, how=name) for one in report.compared),
        variants=tuple(replace(one, model=name, dominated_by=name) for one in report.variants),
    )
    assert "<script" not in render(hostile)
