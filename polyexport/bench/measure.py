"""Timing of calls in three windows, each cut into blocks with a multiplication of matrices between them.

The windows show whether the speed of the machine was constant. The multiplications show how fast it was at that moment,
so that runs of different days can be compared.
"""

import contextlib
import gc
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeVar

from polyexport.bench.statistics import WINDOWS

__all__ = [
    "BLOCKS",
    "Block",
    "Window",
    "callers",
    "closed_loop",
    "in_turn",
    "open_loop",
    "peak_rss_mib",
    "take_windows",
    "warm_up",
]

T = TypeVar("T")

BLOCKS = 10
"""Largest number of blocks in a window."""

_WARM_UP_CALLS = 5
BLOCKS_IN_TURN = 15  # for each kind of call; a multiple of WINDOWS


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """Times of calls that were made one after the other or by several threads."""

    samples_ms: Sequence[float]
    """Time of each call, milliseconds."""

    wall_s: float
    """Wall time of the block, seconds."""

    cpu_s: float = 0.0
    """CPU time of all threads of this process, seconds."""

    calibration_ms: float = 0.0
    """Time of the multiplication just before the block, milliseconds; 0 without one."""

    @property
    def p50_ms(self) -> float:
        """Median time of a call, milliseconds."""
        return median(self.samples_ms)


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """One of the three parts of a measurement."""

    blocks: Sequence[Block]

    @property
    def samples_ms(self) -> list[float]:
        """Time of each call of all blocks, milliseconds."""
        return [sample for block in self.blocks for sample in block.samples_ms]

    @property
    def wall_s(self) -> float:
        """Wall time of all blocks, seconds."""
        return sum(block.wall_s for block in self.blocks)

    @property
    def cpu_s(self) -> float:
        """CPU time of all blocks, seconds."""
        return sum(block.cpu_s for block in self.blocks)


RunBlock = Callable[[float], Sequence[float]]
"""Function from seconds to the milliseconds of each call that was made in them; one call or more."""


def take_windows(
    run_block: RunBlock,
    *,
    seconds: float,
    blocks: int = BLOCKS,
    least: int = 1,
    calibrate: Callable[[], float] | None = None,
) -> tuple[Window, ...]:
    """Measure three windows with the garbage collector off.

    Args:
        run_block: makes the calls of a block; they are warm already.
        seconds: length of each window.
        blocks: largest number of blocks in each window.
        least: number of blocks in each window that are run however long they take.
        calibrate: does a fixed piece of work before each block, and returns its milliseconds.
    """
    windows = []
    with _no_collection():
        for _ in range(WINDOWS):
            taken: list[Block] = []
            deadline = time.perf_counter() + seconds
            while len(taken) < blocks and (len(taken) < least or time.perf_counter() < deadline):
                calibration_ms = calibrate() if calibrate else 0.0
                wall, cpu = time.perf_counter(), time.process_time()
                samples = run_block(seconds / blocks)
                taken.append(
                    Block(
                        samples_ms=samples,
                        wall_s=time.perf_counter() - wall,
                        cpu_s=time.process_time() - cpu,
                        calibration_ms=calibration_ms,
                    )
                )
            windows.append(Window(blocks=taken))
    return tuple(windows)


def closed_loop(call: Callable[[], object], *, least: int = 1) -> RunBlock:
    """Make calls one after the other: each begins when the one before has ended.

    Args:
        call: one request.
        least: number of calls that are made however long they take.
    """

    def run(seconds: float) -> list[float]:
        samples: list[float] = []
        deadline = time.perf_counter() + seconds
        while len(samples) < least or time.perf_counter() < deadline:
            started = time.perf_counter_ns()
            call()
            samples.append((time.perf_counter_ns() - started) / 1e6)
        return samples

    return run


def open_loop(call: Callable[[], object], rate: float) -> RunBlock:
    """Make calls at fixed times, each timed from when it was due, not from when it began.

    A call that begins late, because the one before it took long, has kept its user waiting. Timing it from its own
    start leaves that wait out: "coordinated omission", Gil Tene, "How NOT to Measure Latency", 2013.

    Args:
        call: one request.
        rate: requests per second. If the calls cannot keep up, the block ends after twice its time.
    """

    def run(seconds: float) -> list[float]:
        samples: list[float] = []
        begin = time.perf_counter()
        for arrival in range(max(1, round(seconds * rate))):
            due = begin + arrival / rate
            while (left := due - time.perf_counter()) > 0:
                time.sleep(left)
            call()
            ended = time.perf_counter()
            samples.append((ended - due) * 1e3)
            if ended - begin > 2 * seconds:
                break
        return samples

    return run


def warm_up(call: Callable[[], T]) -> T:
    """Make the first calls of a shape, which allocate and tune, and return the result of the last one."""
    for _ in range(_WARM_UP_CALLS - 1):
        call()
    return call()


def in_turn(calls: Sequence[Callable[[], object]], *, seconds: float) -> list[list[float]]:
    """Time several kinds of calls block by block in turn, so that a slow machine slows all alike.

    Args:
        calls: one call of each kind.
        seconds: length of each of three windows for each kind.

    Returns:
        Median of each block for each kind, milliseconds; their number is a multiple of three.
    """
    blocks: list[list[float]] = [[] for _ in calls]
    for number in range(BLOCKS_IN_TURN):
        kinds = list(zip(calls, blocks, strict=True))
        for call, samples in kinds if number % 2 == 0 else reversed(kinds):
            call()  # not timed: threads of the kind before may still spin, and its data fills the caches
            samples.append(median(closed_loop(call)(WINDOWS * seconds / BLOCKS_IN_TURN)))
    return blocks


@contextlib.contextmanager
def callers(call: Callable[[], object], number: int) -> Iterator[RunBlock]:
    """Run several closed loops side by side, each in a thread of its own.

    Each makes three calls or more: loops that end first leave the cores to the others, which must not weigh much.
    """
    loop = closed_loop(call, least=3)
    with ThreadPoolExecutor(number, thread_name_prefix="caller") as pool:

        def run(seconds: float) -> Sequence[float]:
            if number == 1:
                return loop(seconds)
            loops = [pool.submit(loop, seconds) for _ in range(number)]
            return [sample for running in loops for sample in running.result()]

        yield run


def peak_rss_mib(*, reset: bool = False) -> float | None:
    """Peak resident memory of this process, MiB; None on systems that do not report it.

    Args:
        reset: set the peak back to the current value first; only Linux allows it, others count from the start.
    """
    if reset:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # proc(5)
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:")), None)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
