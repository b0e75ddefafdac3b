from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from polyexport.bench.changes import changes
from polyexport.bench.document import BenchReport, Row
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
