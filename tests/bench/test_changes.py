import contextlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from polyexport.bench.capacity import Capacity
from polyexport.bench.changes import changes, differences
from polyexport.bench.document import BenchReport, Row
from polyexport.bench.html import render
from polyexport.bench.rows import capacity_row
from polyexport.bench.run import Extras
from polyexport.bench.scenarios.capacity import CapacitySearch
from polyexport.bench.table import lines
from polyexport.errors import UsageError

Bench = Callable[..., BenchReport]


def noisy(row: Row, *, code: float = 1.0, machine: float = 1.0) -> Row:
    """A row of 30 blocks of about 10 ms, with a noise of 1 %; ``code`` and ``machine`` take so many times as long."""
    noise = np.random.default_rng([int(1000 * code), int(1000 * machine)]).normal(1, 0.01, (2, 30))
    return replace(
        row,
        stable=True,
        block_ms=tuple((10 * code * machine * noise[0]).tolist()),
        calibration_ms=tuple((4 * machine * noise[1]).tolist()),
    )


@pytest.fixture(scope="module")
def report(quick_bench: Bench) -> BenchReport:
    return quick_bench("latency")


def old(report: BenchReport) -> BenchReport:
    return replace(report, rows=tuple(noisy(row) for row in report.rows))


@pytest.mark.parametrize(
    ("code", "machine", "worse"),
    [(1.0, 1.0, False), (1.10, 1.0, True), (1.0, 1.5, False), (1.10, 1.5, True), (0.8, 1.0, False), (1.03, 1.0, False)],
)
def test_what_the_code_did_and_what_the_machine_did(
    report: BenchReport, code: float, machine: float, worse: bool
) -> None:
    rows = [noisy(row, code=code, machine=machine) for row in report.rows]
    (change,) = changes(rows, old(report), tolerance=0.05)
    assert change.worse is worse
    assert change.calibrated.estimate == pytest.approx(code, abs=0.03)
    assert change.raw.estimate == pytest.approx(code * machine, abs=0.05)


def test_a_tolerance(report: BenchReport) -> None:
    rows = [noisy(row, code=1.1) for row in report.rows]
    assert not changes(rows, old(report), tolerance=0.2)[0].worse


def test_without_a_calibration_milliseconds_count(report: BenchReport) -> None:
    before = replace(report, rows=tuple(replace(row, calibration_ms=(0.0,) * 30) for row in old(report).rows))
    (change,) = changes([noisy(row, machine=1.5) for row in report.rows], before, tolerance=0.05)
    assert change.worse
    assert change.calibrated == change.raw


def test_nothing_in_common(report: BenchReport) -> None:
    elsewhere = [replace(noisy(row), size=64) for row in report.rows]
    unstable = [replace(noisy(row), stable=False) for row in report.rows]
    for rows in (elsewhere, unstable):
        with pytest.raises(UsageError, match="no stable measurement"):
            changes(rows, old(report), tolerance=0.05)


def capacity(holds: float, fails: float | None) -> Row:
    found = Capacity(
        bound_ms=50.0, percentile=99.0, holds_per_s=holds, fails_per_s=fails, verdict="met", reason="", alone_ms=5.0,
        probes=(),
    )  # fmt: skip
    return capacity_row(CapacitySearch(), found, "search", size=16, callers=2)


@pytest.mark.parametrize(
    ("new", "worse"),
    [
        ((100.0, 103.0), False),
        ((96.0, 99.0), False),
        ((80.0, 83.0), True),
        ((80.0, 110.0), False),
        ((200.0, 206.0), False),
    ],
)
def test_capacities_are_compared_by_what_surely_holds_and_fails(
    report: BenchReport, new: tuple[float, float], worse: bool
) -> None:
    old = replace(report, rows=(capacity(100.0, 103.0),))
    (change,) = changes([capacity(*new)], old, tolerance=0.05)
    assert change.worse is worse
    assert change.raw.low <= change.raw.estimate <= change.raw.high
    assert change.raw.low == pytest.approx(100.0 / new[1])


def test_a_search_without_an_end_is_compared_with_nothing(report: BenchReport) -> None:
    old = replace(report, rows=(capacity(100.0, 103.0),))
    for holds, fails in ((0.0, 50.0), (10_000.0, None)):
        with pytest.raises(UsageError, match="no stable measurement in common"):
            changes([capacity(holds, fails)], old, tolerance=0.05)


def test_another_machine_or_model_is_named_first(quick_bench: Bench, report: BenchReport) -> None:
    assert differences(report.environment, report.model, report) == ()
    before = replace(
        old(report),
        environment=replace(report.environment, cpu="Another CPU"),
        model=replace(report.model, sha256="0" * 64, precision="int8"),
    )
    told: list[str] = []
    with contextlib.suppress(UsageError):  # a machine that was not steady has nothing to compare
        quick_bench(extras=Extras(baseline=before, baseline_name="old.json"), progress=told.append)
    assert told[0] == f"old.json differs in model's sha256: {'0' * 64} then, {report.model.sha256} now"
    assert told[1] == "old.json differs in model's precision: int8 then, fp32 now"
    assert told[2] == f"old.json differs in cpu: Another CPU then, {report.environment.cpu} now"


def test_the_table_names_them_before_the_changes(report: BenchReport) -> None:
    rows = tuple(noisy(row) for row in report.rows)
    after = replace(
        report,
        rows=rows,
        changes=changes(rows, old(report), tolerance=0.05),
        baseline="old.json",
        baseline_differences=("cpu: A then, B now",),
    )
    text = list(lines(after))
    assert text.index("old.json differs in cpu: A then, B now") < next(
        number for number, line in enumerate(text) if line.startswith("time over old.json")
    )
    assert "cpu: A then, B now" in render(after)
