"""Verdict on the target of ``--target-ms``: met or missed only where the samples and the machine allow an answer."""

import math
from collections.abc import Sequence

from polyexport.bench.capacity import Capacity
from polyexport.bench.document import Row, TargetGate, Verdict
from polyexport.bench.machine import Machine
from polyexport.bench.order_statistics import fewest_samples, samples_to_decide
from polyexport.bench.rows import SATURATED
from polyexport.bench.scenarios import times_images
from polyexport.bench.scenarios.scenario import Settings

__all__ = ["judge"]


def judge(rows: Sequence[Row], settings: Settings, machine: Machine | None) -> TargetGate:
    """Compare the rows of every scenario that times images with the target, and capacities with their own bound.

    A row meets the target if the confidence interval of the percentile lies at or under it, and misses it if the
    interval lies above. While the target lies inside, or the windows do not agree, or the samples are too few, the row
    does not decide. A disturbance makes calls slower, never faster: it cannot make a slow model meet a target, but it
    can make a quick one miss it. So a miss that the time taken by others can explain does not decide either.

    Args:
        rows: measurements of the run.
        settings: the target and its percentile.
        machine: conditions over the run; None if they are unknown.
    """
    verdicts: list[Verdict] = []
    reasons = []
    for row in rows:
        if row.capacity is not None:
            verdict, reason = _judge_capacity(row.capacity, machine)
        elif times_images(row.scenario):
            verdict, reason = _judge_row(row, settings, machine)
        else:
            continue
        verdicts.append(verdict)
        if verdict != "met":
            reasons.append(f"{row.scenario}, {row.name}: {reason}")
    order: tuple[Verdict, ...] = ("missed", "undecided")
    return TargetGate(
        target_ms=settings.target_ms,
        percentile=settings.percentile,
        verdict=next((each for each in order if each in verdicts), "met"),
        reasons=tuple(reasons),
    )


def _judge_capacity(found: Capacity, machine: Machine | None) -> tuple[Verdict, str]:
    taken = machine.taken if machine else 0.0
    factor = _undisturbed(taken)
    kept_up = all(
        done.answered_per_s >= done.rate_per_s * factor and (done.p50_ms or math.inf) * factor <= found.bound_ms
        for done in found.probes
    )
    if found.verdict == "missed" and taken and kept_up and found.alone_ms * factor <= found.bound_ms:
        return "undecided", f"{found.reason}, but {_taken(taken)}"
    return found.verdict, found.reason


def _judge_row(row: Row, settings: Settings, machine: Machine | None) -> tuple[Verdict, str]:
    named, target = f"p{settings.percentile:g}", settings.target_ms
    if not row.stable:
        return "undecided", "UNSTABLE; measure again when nothing else runs"
    if row.note.startswith(SATURATED):
        return "missed", row.note
    interval = row.target_interval
    assert interval is not None  # of a stable row
    low, high = interval.low, interval.high
    if high is not None and high <= target:
        return "met", ""
    shown = f"{named} is {_or(low, 'less')} to {_or(high, 'more')} ms with 95 % confidence"
    if low is not None and low > target:
        taken = machine.taken if machine else 0.0
        if min(low, row.image_ms or low) * _undisturbed(taken) > target:
            return "missed", shown
        return "undecided", f"{shown}, but {_taken(taken)}"
    return "undecided", f"{shown}; {_advice(row, settings)}"


def _advice(row: Row, settings: Settings) -> str:
    """Advice on a row that does not decide: more samples, or another target."""
    interval = row.target_interval
    assert interval is not None
    effect = interval.samples / interval.effective
    fewest = fewest_samples(settings.percentile)
    if interval.effective < fewest:
        factor, samples = fewest / interval.effective, round(fewest * effect)
        few = f"too few samples for p{settings.percentile:g}: {interval.samples}, it takes {samples}"
        return f"{few}; give --seconds {settings.seconds * factor:.2g} or more"
    needed = samples_to_decide(row.target_slower or 0.0, settings.percentile, effect)
    if needed is None or needed > 1000 * interval.samples:
        return "it lies on the target itself; give another target"
    factor = max(1.5, needed / interval.samples)
    return (
        f"some {round(factor * interval.samples)} samples would decide; give --seconds {settings.seconds * factor:.2g}"
    )


def _undisturbed(taken: float) -> float:
    """Smallest factor between the time of a call without a disturbance and with it.

    One that took half of the time makes a call twice as long, and one of several threads, which waits for the slowest
    of them, longer than that: the factor counts twice.
    """
    return (1 - taken) ** 2


def _taken(share: float) -> str:
    return f"{100 * share:.0f} % of the time was taken by others; measure again without them"


def _or(value: float | None, unknown: str) -> str:
    return unknown if value is None else f"{value:.3f}"
