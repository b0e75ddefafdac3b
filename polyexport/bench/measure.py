"""Three windows of calls, each cut into blocks with a multiplication of matrices between them.

The windows show whether the machine kept its pace; the multiplications, how fast it was at that moment, so that runs of
different days can be compared.
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
"""Of a window, at most."""

_WARM_UP = 5
_ROUNDS = 15  # a multiple of WINDOWS


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """Calls, one after the other or from several threads."""

    samples_ms: Sequence[float]
    """Of each call."""

    wall_s: float
    cpu_s: float = 0.0
    """Of this process, all threads."""

    calibration_ms: float = 0.0
    """Of the multiplication just before; 0 without one."""

    @property
    def p50_ms(self) -> float:
        return median(self.samples_ms)


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """A third of a measurement."""

    blocks: Sequence[Block]

    @property
    def samples_ms(self) -> list[float]:
        return [sample for block in self.blocks for sample in block.samples_ms]

    @property
    def wall_s(self) -> float:
        return sum(block.wall_s for block in self.blocks)

    @property
    def cpu_s(self) -> float:
        return sum(block.cpu_s for block in self.blocks)


RunBlock = Callable[[float], Sequence[float]]
"""Seconds -> the milliseconds of each call; at least one call."""


def take_windows(
    run_block: RunBlock,
    *,
    seconds: float,
    blocks: int = BLOCKS,
    calibrate: Callable[[], float] | None = None,
) -> tuple[Window, ...]:
    """Measure, with the garbage collector off.

    Args:
        run_block: the calls; what they need to warm up is done.
        seconds: of each window.
        blocks: of each window.
        calibrate: milliseconds of a fixed piece of work, before each block.
    """
    windows = []
    with _no_collection():
        for _ in range(WINDOWS):
            taken: list[Block] = []
            deadline = time.perf_counter() + seconds
            while len(taken) < blocks and (not taken or time.perf_counter() < deadline):
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
    """One call after the other: the next begins when the last has ended.

    ``least`` calls are made however long they take.
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
    """Calls at fixed times, each timed from when it was due, not from when it began.

    A call that comes late because the one before it stalled was waiting, and its user with it. Timing it from its own
    start leaves that out: "coordinated omission", Gil Tene, "How NOT to Measure Latency", 2013.

    Args:
        call: one request.
        rate: requests a second. Where the calls cannot keep up, the block ends after twice its time.
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
    """Make the first calls of a shape, which allocate and tune, and return what the last one gave."""
    for _ in range(_WARM_UP - 1):
        call()
    return call()


def in_turn(calls: Sequence[Callable[[], object]], *, seconds: float) -> list[list[float]]:
    """Several kinds of calls, block by block in turn, forth and back: what slows the machine down slows all of them.

    Args:
        calls: of one kind each.
        seconds: of three windows for each of them.

    Returns:
        For each kind the median of each block, milliseconds; as many as are shared evenly by three windows.
    """
    blocks: list[list[float]] = [[] for _ in calls]
    for number in range(_ROUNDS):
        kinds = list(zip(calls, blocks, strict=True))
        for call, samples in kinds if number % 2 == 0 else reversed(kinds):
            call()  # threads of the one before may still spin, and the caches are its
            samples.append(median(closed_loop(call)(WINDOWS * seconds / _ROUNDS)))
    return blocks


@contextlib.contextmanager
def callers(call: Callable[[], object], number: int) -> Iterator[RunBlock]:
    """Several closed loops side by side, each in a thread of its own.

    Each makes three calls at least: those who end first leave the machine to the others, and that must not weigh much.
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
    """The largest memory that this process has had in RAM, MiB; None where the system does not tell.

    Args:
        reset: begin anew, where the system lets us: Linux does, others count from the start of the process.
    """
    if reset:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # proc(5)
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        if sys.platform == "win32":
            return None
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
