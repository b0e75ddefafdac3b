import math
import threading
import time

import numpy as np
import pytest

from polyexport.bench.traffic import ThreadClients, Traffic


def traffic(rate: float = 100.0, *, bound_ms: float = 20.0, lead_s: float = 0.0, seed: int = 0) -> Traffic:
    return Traffic(rate, bound_ms=bound_ms, lead_s=lead_s, seed=seed)


def dues(one: Traffic, number: int) -> list[float]:
    one.begin()
    taken = [one.take() for _ in range(number)]
    return [arrival[1] for arrival in taken if arrival is not None]


def test_the_gaps_of_random_arrivals() -> None:
    times = np.array(dues(traffic(200.0), 20_000))
    gaps = np.diff(times)
    assert gaps.mean() == pytest.approx(1 / 200, rel=0.03)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)  # as an exponential distribution has it
    counts = np.bincount((times - times[0]).astype(int))[:-1]
    assert counts.var() == pytest.approx(counts.mean(), rel=0.4)  # as a Poisson process has it


def test_the_same_seed_gives_the_same_times() -> None:
    first, second, other = (np.diff(dues(traffic(seed=seed), 50)) for seed in (1, 1, 2))
    assert first == pytest.approx(second, abs=1e-6)
    assert not np.allclose(first, other)


def test_a_request_is_timed_from_when_it_was_due() -> None:
    one = traffic(50.0)
    (due,) = dues(one, 1)
    while time.perf_counter() < due + 0.1:
        time.sleep(0.01)
    one.answered(0)
    one.judge()
    (ms, *_) = one.answer_times_ms()
    assert ms >= 100


def test_what_has_no_answer_after_the_bound_is_slow_whoever_waits_for_it() -> None:
    one = traffic(1000.0, bound_ms=10)
    one.begin()
    time.sleep(0.1)
    slow = one.judge()
    assert 40 < len(slow) < 160
    assert set(slow) == {1}
    assert one.waiting_s() > 0.05
    assert set(one.answer_times_ms()) == {math.inf}


def test_arrivals_of_the_lead_do_not_count() -> None:
    one = traffic(1000.0, bound_ms=1, lead_s=10)
    one.begin()
    time.sleep(0.05)
    assert one.judge() == b""
    assert one.answer_times_ms() == []


def test_errors_count_as_slow_and_by_kind() -> None:
    one = traffic(10_000.0, bound_ms=1000)
    one.begin()
    for number in range(30):
        assert one.take() is not None
        one.answered(number, f"kind {number}")
    one.take()
    one.answered(30, "kind 3")
    assert one.errors()["kind 3"] == 2
    assert one.errors()["other errors"] == 10
    assert sum(one.errors().values()) == 31


def test_after_the_end_there_are_no_arrivals() -> None:
    one = traffic()
    one.begin()
    one.stop()
    assert one.take() is None
    one.fail(ValueError("first"))
    one.fail(ValueError("second"))
    with pytest.raises(ValueError, match="first"):
        one.check()


def test_threads_answer_side_by_side_and_end_with_the_block() -> None:
    lock, running, most = threading.Lock(), 0, 0

    def call() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    one = traffic(2000.0, bound_ms=50)
    with ThreadClients(call, 3).serve(one):
        time.sleep(0.3)
    assert most == 3
    assert running == 0
    assert threading.active_count() < 20
    one.judge()
    known = [ms for ms in one.answer_times_ms() if math.isfinite(ms)]
    assert known == sorted(known) or max(known) > 100  # the queue grows, and the first are answered first


def test_an_error_of_a_call_ends_the_traffic() -> None:
    one = traffic(1000.0)
    with ThreadClients(lambda: 1 / 0, 2).serve(one):
        assert one.stopped.wait(10)
    with pytest.raises(ZeroDivisionError):
        one.check()
