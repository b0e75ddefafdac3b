"""Capacity: the highest rate of random arrivals at which a percentile of the times to an answer holds a bound."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import numpy as np

from polyexport.bench.order_statistics import design_effect, fraction_bounds
from polyexport.bench.probe import Finding, Probe, ProbePlan

__all__ = ["FASTEST_PER_S", "PRECISION", "Capacity", "find_capacity"]

PRECISION = 0.03
"""Relative distance of two rates at which the search between them ends."""

FASTEST_PER_S = 10_000.0
"""Highest rate that is tried, requests per second."""

_GROWTH = 1.6
_MOST_PROBES = 24
_PARTS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Capacity:
    """Result of a search for the highest rate, or of one rate."""

    bound_ms: float
    """Longest time from when a request was due to its answer, milliseconds, for the percentile."""

    percentile: float
    holds_per_s: float
    """Highest rate that surely holds the bound, requests per second; 0 if none does."""

    fails_per_s: float | None
    """Lowest rate that surely does not; None if there is none."""

    verdict: Literal["met", "missed", "undecided"]
    """``met`` if a rate surely holds the bound, ``missed`` if every one, or the one that was asked for, fails."""

    reason: str
    """One line about the result."""

    alone_ms: float
    """Median time of requests that were sent one after the other, milliseconds."""

    probes: tuple[Probe, ...]
    """The rates that were tried, in order."""


def find_capacity(
    alone_ms: Sequence[float],
    probing: Callable[[float, int], Probe],
    plan: ProbePlan,
    *,
    rate: float,
    start: float,
) -> Capacity:
    """Search for the highest rate that holds the bound, or judge one rate.

    Nothing is sent if requests that are alone take longer than the bound already, since no rate is quicker. In the
    search, the rate grows and falls by a factor until one holds and one fails. Then the gap is halved, in proportion,
    until it is 3 % wide. Rates that do not decide within the longest time of a probe part the gap in two, each of which
    is narrowed by itself: the result is then the highest rate that surely holds and the lowest that surely fails.

    Args:
        alone_ms: times of requests that were sent one after the other, milliseconds; one or more.
        probing: sends requests of a rate, with a seed.
        plan: the bound, and the times of the probes.
        rate: the only rate that is tried, requests per second; 0 searches.
        start: first rate of a search.
    """
    held = f"p{plan.percentile:g} <= {plan.bound_ms:g} ms"
    found, probes = _Found(), list[Probe]()
    late = np.asarray(alone_ms, np.float64) > plan.bound_ms
    slow, effect = int(late.sum()), design_effect(np.array_split(late, _PARTS))
    if fraction_bounds(slow, len(alone_ms), effect=effect).low > plan.allowed:
        reason = (
            f"no rate can hold {held}: a request that is alone takes {median(alone_ms):.3g} ms (median), and "
            f"{100 * slow / len(alone_ms):.0f} % of them take longer than the bound"
        )
        verdict: Literal["met", "missed", "undecided"] = "missed"
    elif rate:
        probes.append(probing(rate, 0))
        found.add(rate, probes[0].finding)
        verdict, reason = _judge(probes[0], held, plan)
    else:
        slowest = plan.slowest_per_s
        while len(probes) < _MOST_PROBES:
            following = found.next_rate(max(start, slowest), slowest)
            if following is None:
                break
            probes.append(probing(following, len(probes)))
            found.add(following, probes[-1].finding)
        verdict = "met" if found.holds else "undecided"
        upper = f"{found.fails:.1f} fail" if found.fails else "none that was tried fails"
        reason = f"{held}: {found.holds:.1f} requests/s surely hold it, {upper}"
        if not found.holds:
            lowest = min(done.rate_per_s for done in probes)
            reason = (
                f"no rate from {lowest:.3g} requests/s up surely holds {held}, and lower ones have too few requests in "
                f"{plan.longest_s:g} s; give a longer --probe-seconds"
            )
    return Capacity(
        bound_ms=plan.bound_ms,
        percentile=plan.percentile,
        holds_per_s=found.holds,
        fails_per_s=found.fails,
        verdict=verdict,
        reason=reason,
        alone_ms=median(alone_ms),
        probes=tuple(probes),
    )


def _judge(done: Probe, held: str, plan: ProbePlan) -> tuple[Literal["met", "missed", "undecided"], str]:
    rate = f"{done.rate_per_s:g} requests/s"
    low, high = (f"{100 * share:.2g}" for share in (done.slow.low, done.slow.high))
    slow = f"{low} to {high} % of the requests take longer"
    if done.finding == "holds":
        return "met", f"{rate} hold {held}"
    if done.finding == "fails":
        return "missed", f"{rate} do not hold {held}: {'the queue grows without end' if done.saturated else slow}"
    needed = max(2 * done.seconds, plan.seconds_for(done.rate_per_s))
    return "undecided", f"{rate} may or may not hold {held}: {slow}; give --probe-seconds {math.ceil(needed)} or more"


class _Found:
    """Rates that are known: those that hold lie below those that do not decide, and these below those that fail."""

    def __init__(self) -> None:
        self.holds = 0.0
        self.fails: float | None = None
        self._unsure: list[float] = []

    @property
    def unsure_low(self) -> float | None:
        """Lowest rate that did not decide, and that no other rate has decided since."""
        return min(self._unsure, default=None)

    def add(self, rate: float, finding: Finding) -> None:
        """Note a rate. One that holds decides all lower ones, and one that fails all higher ones."""
        if finding == "holds":
            self.holds = rate
            self._unsure = [each for each in self._unsure if each > rate]
        elif finding == "fails":
            self.fails = rate
            self._unsure = [each for each in self._unsure if each < rate]
        else:
            self._unsure.append(rate)

    def next_rate(self, start: float, slowest: float) -> float | None:
        """Rate that tells most; None if the gaps are narrow, or if no rate is left."""
        above = self.unsure_low or self.fails
        if above is None:
            return self._higher(self.holds) if self.holds else start
        if not self.holds:
            if above > slowest:
                return max(slowest, above / _GROWTH)
            return self._higher(max(self._unsure)) if self._unsure and self.fails is None else None
        if above / self.holds > 1 + PRECISION:
            return math.sqrt(above * self.holds)
        below = max(self._unsure, default=0.0)
        if not below:
            return None
        if self.fails is None:
            return self._higher(below)
        return math.sqrt(self.fails * below) if self.fails / below > 1 + PRECISION else None

    @staticmethod
    def _higher(rate: float) -> float | None:
        return None if rate >= FASTEST_PER_S else min(FASTEST_PER_S, rate * _GROWTH)
