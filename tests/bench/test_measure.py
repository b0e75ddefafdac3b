import gc
import mmap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from polyexport.bench.measure import callers, closed_loop, in_turn, open_loop, peak_rss_mib, take_windows


def test_three_windows_of_blocks_each_after_a_calibration() -> None:
    order: list[str] = []

    def calibrate() -> float:
        order.append("calibrate")
        return 7.0

    def run(seconds: float) -> list[float]:
        order.append("run")
        assert not gc.isenabled()
        assert seconds == pytest.approx(0.01)
        return [1.0, 2.0]

    windows = take_windows(run, seconds=0.04, blocks=4, calibrate=calibrate)
    assert gc.isenabled()
    assert [len(window.blocks) for window in windows] == [4, 4, 4]
    assert order == ["calibrate", "run"] * 12
    assert windows[0].samples_ms == [1.0, 2.0] * 4
    assert {block.calibration_ms for window in windows for block in window.blocks} == {7.0}


def slow_call(seconds: float) -> Callable[[float], list[float]]:
    """A block of one call that takes that long."""

    def run(block_seconds: float) -> list[float]:
        time.sleep(seconds)
        return [1.0]

    return run


def test_a_window_of_slow_calls_ends_in_time() -> None:
    windows = take_windows(slow_call(0.02), seconds=0.03, blocks=10)
    assert all(1 <= len(window.blocks) <= 3 for window in windows)


def test_wall_and_cpu_time() -> None:
    (window, *_) = take_windows(slow_call(0.05), seconds=0.01, blocks=1)
    assert window.wall_s >= 0.05
    assert window.cpu_s < window.wall_s / 2


def test_an_open_loop_charges_a_stall_to_those_who_waited() -> None:
    stalls = iter([0.1] + [0.0] * 1000)
    samples = open_loop(lambda: time.sleep(next(stalls)), 100)(0.1)
    assert len(samples) == 10
    # Every 10 ms one more was due: they waited 100, 90, 80 ms... A closed loop would have seen one slow call.
    assert sum(sample > 15 for sample in samples) >= 7
    stalls = iter([0.1] + [0.0] * 1_000_000)
    closed = closed_loop(lambda: time.sleep(next(stalls)))(0.15)
    assert sum(sample > 15 for sample in closed) <= len(closed) / 4


def test_a_rate_that_cannot_be_served_ends() -> None:
    started = time.perf_counter()
    samples = open_loop(lambda: time.sleep(0.02), 10_000)(0.1)
    assert time.perf_counter() - started < 2
    assert len(samples) < 1000


def test_callers_work_side_by_side() -> None:
    with callers(lambda: time.sleep(0.01), 4) as run:
        samples = run(0.05)
    assert len(samples) >= 8
    assert min(samples) >= 10


def test_peak_memory_is_of_what_came_after_the_reset() -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("no /proc")
    before = peak_rss_mib(reset=True)
    assert before is not None
    with mmap.mmap(-1, 64 * 2**20) as block:  # the allocator may have such a block left from before
        for start in range(0, len(block), mmap.PAGESIZE):
            block[start] = 1
        grown = peak_rss_mib()
    assert grown is not None
    assert grown > before + 50


def test_kinds_of_calls_take_turns_forth_and_back() -> None:
    order: list[str] = []
    first, second = in_turn([lambda: order.append("a"), lambda: order.append("b")], seconds=1e-9)
    assert len(first) == len(second) == 15
    assert "".join(order)[:8] == "aabbbbaa"
