import json
import runpy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyexport.bench import schema as module
from polyexport.bench.changes import changes
from polyexport.bench.document import BenchReport, read_report
from polyexport.bench.schema import report_schema
from polyexport.errors import UsageError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def validate() -> Callable[[Any], bool]:
    jsonschema = pytest.importorskip("jsonschema")
    written = json.loads((ROOT / "polyexport" / "bench" / "report.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(written)
    validator = jsonschema.Draft202012Validator(written)
    return lambda value: bool(validator.is_valid(value))


@pytest.fixture
def report(full_report: BenchReport) -> BenchReport:
    return full_report


def test_the_file_is_the_types() -> None:
    text = runpy.run_path(str(ROOT / "docs" / "report_schema.py"))["text"]()
    assert (ROOT / "polyexport" / "bench" / "report.schema.json").read_text() == text, (
        "run python docs/report_schema.py"
    )


def test_real_reports_follow_it(report: BenchReport, validate: Callable[[Any], bool]) -> None:
    steady = replace(report, rows=tuple(replace(row, stable=True) for row in report.rows))
    after = replace(steady, changes=changes(steady.rows, steady, tolerance=0.05), baseline="old.json")
    for each in (report, after):
        assert validate(json.loads(each.to_json()))


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_it_accepts_what_is_read_and_refuses_what_is_not(
    report: BenchReport, validate: Callable[[Any], bool], tmp_path: Path, data: st.DataObject
) -> None:
    value = json.loads(report.to_json())
    where = data.draw(st.sampled_from(["environment", "model", "rows", "gate", "limits", "compared", "profile"]))
    inner = value[where][0] if isinstance(value[where], list) else value[where]
    name = data.draw(st.sampled_from([*inner, "unknown"]))
    # JSON Schema takes 1.0 for an integer, and Python does not write an integer so.
    inner[name] = data.draw(st.none() | st.booleans() | st.integers(-9, 9) | st.floats(0.1, 0.9) | st.just("text"))
    (tmp_path / "report.json").write_text(json.dumps(value))
    try:
        read_report(tmp_path / "report.json")
    except UsageError:
        assert not validate(value)
    else:
        assert validate(value)


def test_a_type_without_a_schema() -> None:
    @dataclass(frozen=True)
    class Odd:
        value: bytes

    with pytest.raises(TypeError, match="has no schema"):
        module._of(Odd, {})
    assert report_schema()["$ref"] == "#/$defs/BenchReport"
