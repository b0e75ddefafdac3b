import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polyexport.bench.document import BenchReport, read_report
from polyexport.bench.upgrade import _ADDED, upgraded

ROOT = Path(__file__).parents[2]


def without(value: Any, added: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [without(one, added) for one in value]
    return {name: each for name, each in value.items() if name not in added}


def test_a_report_of_schema_1_is_read_with_what_it_has(full_report: BenchReport, tmp_path: Path) -> None:
    called = tuple(one for one in full_report.compared if one.work == "call" and not one.failure)
    value: dict[str, Any] = json.loads(replace(full_report, compared=called).to_json())
    expected = dict(value)
    for members in _ADDED.values():
        for member, added in members.items():
            old = without(value[member] if member else value, added)
            value = {**value, member: old} if member else old
            inner = [{**one, **added} for one in old] if isinstance(old, list) else {**old, **added}
            expected = {**expected, member: inner} if member else {**expected, **added}
    (tmp_path / "old.json").write_text(json.dumps(value | {"schema": 1}))
    assert json.loads(read_report(tmp_path / "old.json").to_json()) == expected
    assert value != expected


def test_what_a_version_did_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="it has measured_at, which schema 2 added"):
        upgraded({"schema": 1, "measured_at": "", "compared": []}, 2)
    with pytest.raises(ValueError, match="stands in place of an object"):
        upgraded({"schema": 1, "compared": [3]}, 2)


def test_a_report_of_this_version_stays_as_it_is() -> None:
    value = {"schema": 2, "compared": []}
    assert upgraded(value, 2) == value


def test_recorded_reports_are_read() -> None:
    results = ROOT / "benchmarks" / "results"
    paths = sorted([*results.glob("base-128_*.json"), *results.glob("small-128_*.json")])
    assert paths
    for path in paths:
        report = read_report(path)
        assert report.measured_at == ""
        assert {(one.work, one.images, one.failure) for one in report.compared} == {("call", 1, "")}
