import json
from dataclasses import replace
from pathlib import Path

import pytest

from polyexport.bench.document import BenchReport, read_report
from polyexport.bench.upgrade import upgraded

ROOT = Path(__file__).parents[2]

ADDED_BY_2 = ("measured_at", "baseline_differences")
ADDED_TO_COMPARED_BY_2 = ("work", "images", "cpu_ms", "block_ms", "failure")


def test_a_report_of_schema_1_is_read_with_what_it_has(full_report: BenchReport, tmp_path: Path) -> None:
    called = tuple(one for one in full_report.compared if one.work == "call" and not one.failure)
    report = replace(full_report, compared=called)
    value = json.loads(report.to_json())
    old = {name: each for name, each in value.items() if name not in ADDED_BY_2} | {"schema": 1}
    old["compared"] = [
        {name: each for name, each in one.items() if name not in ADDED_TO_COMPARED_BY_2} for one in value["compared"]
    ]
    (tmp_path / "old.json").write_text(json.dumps(old))
    compared = tuple(replace(one, block_ms=()) for one in called)
    assert read_report(tmp_path / "old.json") == replace(report, measured_at="", compared=compared)


def test_what_a_version_did_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="it has measured_at, which schema 2 added"):
        upgraded({"schema": 1, "measured_at": "", "compared": []}, 2)
    with pytest.raises(ValueError, match="stands in place of an object"):
        upgraded({"schema": 1, "compared": [3]}, 2)


def test_a_report_of_this_version_stays_as_it_is() -> None:
    value = {"schema": 2, "compared": []}
    assert upgraded(value, 2) == value


def test_recorded_reports_are_read() -> None:
    paths = sorted((ROOT / "benchmarks" / "results").glob("*-128_*.json"))
    assert paths
    for path in paths:
        assert read_report(path).measured_at == ""
