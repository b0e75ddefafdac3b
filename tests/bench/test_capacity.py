import heapq
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyexport.bench.capacity import PRECISION, Capacity, find_capacity
from polyexport.bench.order_statistics import Bounds, design_effect, fraction_bounds
from polyexport.bench.probe import Finding, Probe, ProbePlan

PLAN = ProbePlan(bound_ms=50.0, percentile=99.0, seconds=6.0, longest_s=30.0)
QUICK = [5.0] * 100


def made(rate: float, finding: Finding) -> Probe:
    return Probe(
        rate_per_s=rate, finding=finding, seconds=6.0, requests=600, slow=Bounds(low=0.0, high=0.0), p50_ms=1.0,
        p99_ms=2.0, answered_per_s=rate, saturated=False, errors={},
    )  # fmt: skip


def found(holds: float, fails: float, *, start: float = 100.0, plan: ProbePlan = PLAN) -> Capacity:
    """Result for a system of which rates up to ``holds`` hold, and rates from ``fails`` on fail."""

    def probing(rate: float, seed: int) -> Probe:
        return made(rate, "holds" if rate <= holds else "fails" if rate >= fails else "undecided")

    return find_capacity(QUICK, probing, plan, rate=0.0, start=start)


@settings(max_examples=200, deadline=None)
@given(st.floats(25, 9_000), st.floats(25, 9_000))
def test_the_search_finds_the_edge(edge: float, start: float) -> None:
    result = found(edge, edge, start=start)
    assert result.verdict == "met"
    assert result.fails_per_s is not None
    assert result.holds_per_s <= edge <= result.fails_per_s
    assert result.fails_per_s / result.holds_per_s <= 1 + PRECISION
    assert len(result.probes) <= 24
    assert len({probe.rate_per_s for probe in result.probes}) == len(result.probes)


@settings(max_examples=200, deadline=None)
@given(st.floats(25, 4_000), st.floats(1.0, 2.0), st.floats(25, 9_000))
def test_rates_that_do_not_decide_part_the_gap(edge: float, width: float, start: float) -> None:
    result = found(edge, edge * width, start=start)
    assert result.fails_per_s is not None
    assert result.holds_per_s <= edge
    assert result.fails_per_s >= edge * width
    # Both sides are as near as the search goes.
    assert result.holds_per_s >= edge / (1 + PRECISION) / 1.0001
    assert result.fails_per_s <= edge * width * (1 + PRECISION) * 1.0001
    assert len(result.probes) <= 24


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False))
def test_findings_at_random_end_the_search(random: object) -> None:
    def probing(rate: float, seed: int) -> Probe:
        return made(rate, random.choice(("holds", "fails", "undecided")))  # type: ignore[attr-defined]

    result = find_capacity(QUICK, probing, PLAN, rate=0.0, start=100.0)
    assert len(result.probes) <= 24
    assert result.fails_per_s is None or result.holds_per_s < result.fails_per_s


def test_a_bound_below_the_time_of_one_request_sends_nothing() -> None:
    def probing(rate: float, seed: int) -> Probe:
        raise AssertionError

    for rate in (0.0, 10.0):
        plan = ProbePlan(bound_ms=5.0, percentile=99.0, seconds=1.0, longest_s=2.0)
        result = find_capacity([8.0] * 20, probing, plan, rate=rate, start=1.0)
        assert (result.verdict, result.probes) == ("missed", ())
        assert result.reason == (
            "no rate can hold p99 <= 5 ms: a request that is alone takes 8 ms (median), and 100 % of them take longer "
            "than the bound"
        )


def test_one_pause_of_the_machine_proves_nothing() -> None:
    paused = [5.0] * 46 + [80.0] * 4
    result = find_capacity(paused, lambda rate, seed: made(rate, "holds"), PLAN, rate=70.0, start=1.0)
    assert result.verdict == "met"


def test_a_system_without_an_edge() -> None:
    high = found(1e9, 1e9)
    assert (high.verdict, high.holds_per_s, high.fails_per_s) == ("met", 10_000, None)
    assert "none that was tried fails" in high.reason
    low = found(0.0, 0.0)
    assert (low.verdict, low.holds_per_s) == ("undecided", 0.0)
    assert "give a longer --probe-seconds" in low.reason
    assert min(probe.rate_per_s for probe in low.probes) == pytest.approx(PLAN.slowest_per_s)


@pytest.mark.parametrize(("finding", "verdict"), [("holds", "met"), ("fails", "missed"), ("undecided", "undecided")])
def test_one_rate(finding: Finding, verdict: str) -> None:
    result = find_capacity(QUICK, lambda rate, seed: made(rate, finding), PLAN, rate=70.0, start=1.0)
    assert result.verdict == verdict
    assert [probe.rate_per_s for probe in result.probes] == [70.0]
    assert "70 requests/s" in result.reason


def queue(rate: float, seed: int, plan: ProbePlan, *, servers: int, service_ms: float) -> Probe:
    """Exact simulation of a queue with constant service times, judged as a probe is."""
    random = np.random.default_rng(seed)
    looks = plan.looks_s(rate)
    free = [0.0] * servers
    arrival, slow = 0.0, list[bool]()
    for look in looks:
        while arrival < look:
            arrival += random.exponential(1 / rate)
            begun = max(arrival, heapq.heappop(free))
            heapq.heappush(free, begun + service_ms / 1e3)
            slow.append((begun - arrival) * 1e3 + service_ms > plan.bound_ms)
        effect = design_effect(np.array_split(np.array(slow), 20))
        bounds = fraction_bounds(sum(slow), len(slow), effect=effect, confidence=0.9875)
        if not bounds.low <= plan.allowed < bounds.high:
            break
    finding: Finding = "holds" if bounds.high <= plan.allowed else "fails" if bounds.low > plan.allowed else "undecided"
    return made(rate, finding)


def true_capacity(servers: int, service_ms: float, bound_ms: float) -> float:
    """Highest rate of a long simulation whose p99 holds the bound."""
    low, high = 1.0, servers / service_ms * 1e3
    while high / low > 1.005:
        rate = math.sqrt(low * high)
        random = np.random.default_rng(0)
        free = [0.0] * servers
        waits = []
        for arrival in np.cumsum(random.exponential(1 / rate, 100_000)):
            begun = max(arrival, heapq.heappop(free))
            heapq.heappush(free, begun + service_ms / 1e3)
            waits.append((begun - arrival) * 1e3 + service_ms)
        low, high = (rate, high) if np.percentile(waits, 99) <= bound_ms else (low, rate)
    return low


def test_the_result_holds_the_capacity_of_a_queue() -> None:
    """Two callers with 8 ms a call, as the shipped model has them, and a bound of 30 ms."""
    plan = ProbePlan(bound_ms=30.0, percentile=99.0, seconds=6.0, longest_s=60.0)
    true = true_capacity(2, 8.0, 30.0)
    hits = 0
    for number in range(6):
        seeds = itertools.count(1000 * number)
        result = find_capacity(
            [8.0] * 50,
            lambda rate, seed, seeds=seeds: queue(rate, next(seeds), plan, servers=2, service_ms=8.0),  # type: ignore[misc]
            plan,
            rate=0.0,
            start=100.0,
        )
        assert result.fails_per_s is not None
        assert result.holds_per_s > 0.75 * true
        hits += result.holds_per_s <= true * 1.02 and true <= result.fails_per_s * 1.02
    assert hits >= 4
