import threading
import time

import pytest

from polyexport.bench.probe import ProbePlan, probe
from polyexport.bench.traffic import ThreadClients


def plan(
    bound_ms: float = 60.0, *, seconds: float = 0.6, longest_s: float = 2.0, percentile: float = 90.0
) -> ProbePlan:
    return ProbePlan(bound_ms=bound_ms, percentile=percentile, seconds=seconds, longest_s=longest_s)


def test_the_looks_come_later_each_time_and_end_with_the_longest() -> None:
    for rate in (1.0, 50.0, 5000.0):
        for longest_s in (0.5, 6.0, 100.0):
            looks = plan(longest_s=longest_s).looks_s(rate)
            assert looks == sorted(set(looks))
            assert looks[-1] == longest_s
            assert len(looks) <= 4
    # None of 505 requests slow is what four looks at 1 % need.
    assert plan(percentile=99.0).fewest == 505


def test_a_rate_that_is_served_at_once_holds() -> None:
    done = probe(ThreadClients(lambda: time.sleep(0.001), 4), 100.0, plan(200.0), seed=0)
    assert done.finding == "holds"
    assert done.errors == {}
    assert not done.saturated
    assert done.p50_ms is not None
    assert 1 <= done.p50_ms < 200
    assert done.slow.high <= 0.1


def test_a_queue_that_grows_is_told_early() -> None:
    started = time.monotonic()
    done = probe(
        ThreadClients(lambda: time.sleep(0.02), 1), 2000.0, plan(longest_s=60.0, seconds=30.0, percentile=99.0), seed=0
    )
    assert (done.finding, done.saturated) == ("fails", True)
    assert time.monotonic() - started < 15
    assert done.p99_ms is None


def test_slow_calls_fail_without_a_queue() -> None:
    done = probe(ThreadClients(lambda: time.sleep(0.08), 64), 100.0, plan(), seed=0)
    assert (done.finding, done.saturated) == ("fails", False)
    assert done.slow.low > 0.1


def test_too_few_requests_do_not_decide() -> None:
    done = probe(ThreadClients(lambda: None, 4), 20.0, plan(seconds=0.2, longest_s=0.4, percentile=99.0), seed=0)
    assert done.finding == "undecided"


def test_an_error_of_a_call_is_the_probes() -> None:
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        probe(ThreadClients(lambda: 1 / 0, 4), 100.0, plan(), seed=0)
    assert threading.active_count() == before


def test_a_signal_ends_the_threads() -> None:
    before = threading.active_count()

    class Stop(BaseException):
        pass

    calls = iter(range(10))

    def call() -> None:
        if next(calls, 10) > 5:
            raise Stop

    with pytest.raises(Stop):
        probe(ThreadClients(call, 2), 100.0, plan(), seed=0)
    assert threading.active_count() == before
