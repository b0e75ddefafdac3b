"""Changes of the measurements since an older report."""

import math
from collections.abc import Sequence

from polyexport.bench.document import BenchReport, Change, Measured, Row
from polyexport.bench.environment import Environment
from polyexport.bench.statistics import Interval, ratio_interval
from polyexport.errors import UsageError

__all__ = ["changes", "differences"]

_MODEL = ("name", "sha256", "precision", "execution_provider", "macs")


def differences(machine: Environment, model: Measured, old: BenchReport) -> tuple[str, ...]:
    """List what differs from an older report and can change a time, one line each.

    Args:
        machine: the machine of this run.
        model: the model of this run.
        old: the older report.
    """
    pairs = [(name, getattr(old.model, name), getattr(model, name)) for name in _MODEL]
    told = [f"model's {name.replace('_', ' ')}: {then} then, {now} now" for name, then, now in pairs if then != now]
    return (*told, *machine.differences(old.environment))


def changes(rows: Sequence[Row], old: BenchReport, *, tolerance: float) -> tuple[Change, ...]:
    """Compare every measurement that both reports have.

    A measurement is worse if its time has grown by more than the tolerance and the confidence interval of the growth
    lies above 1. Time is counted in multiplications of matrices, which are measured between the calls, so that a slower
    machine is not a regression. On devices and for whole programs there are none, and milliseconds are compared.

    Args:
        rows: measurements of this run.
        old: the older report.
        tolerance: relative growth that still passes; 0.05 is 5 %.

    Raises:
        UsageError: the reports have no stable measurement in common.
    """
    known = {row.key: row for row in old.rows if row.stable}
    found = []
    for row in rows:
        before = known.get(row.key)
        if before is None or not row.stable:
            continue
        if row.capacity is not None or before.capacity is not None:
            found += _capacity_changes(row, before, tolerance)
            continue
        raw = ratio_interval(row.block_ms, before.block_ms, paired=False)
        calibrated = (
            ratio_interval(_in_multiplications(row), _in_multiplications(before), paired=False)
            if all(row.calibration_ms) and all(before.calibration_ms)
            else raw
        )
        worse = calibrated.estimate > 1 + tolerance and calibrated.low > 1
        found.append(Change(scenario=row.scenario, name=row.name, raw=raw, calibrated=calibrated, worse=worse))
    if not found:
        raise UsageError(
            "the baseline has no stable measurement in common with this run",
            remedy="give a report of the same scenarios and the same size",
        )
    return tuple(found)


def _capacity_changes(row: Row, before: Row, tolerance: float) -> list[Change]:
    """Change of the time between requests, the inverse of the rate, if both searches have a result with two ends."""
    ends = []
    for each in (row.capacity, before.capacity):
        if each is None or not each.holds_per_s or each.fails_per_s is None:
            return []
        ends.append((each.holds_per_s, each.fails_per_s))
    (holds, fails), (held, failed) = ends
    ratio = Interval(estimate=math.sqrt(held * failed / (holds * fails)), low=held / fails, high=failed / holds)
    worse = ratio.estimate > 1 + tolerance and ratio.low > 1
    return [Change(scenario=row.scenario, name=row.name, raw=ratio, calibrated=ratio, worse=worse)]


def _in_multiplications(row: Row) -> list[float]:
    return [ms / calibration for ms, calibration in zip(row.block_ms, row.calibration_ms, strict=True)]
