"""The batcher groups requests into batches and calls the network for each batch in threads of its own.

ONNX Runtime and OpenVINO release the interpreter's lock during a call, so the event loop goes on meanwhile. On a CPU,
calls of one thread side by side answer more requests than calls of all threads one after the other; a request that is
alone is answered sooner by all threads.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from polyexport.errors import reason_of
from polyexport.imaging.pixels import Pixels
from polyexport.model.canvas import Canvas
from polyexport.model.model import ConditionRows
from polyexport.model.placed_run import Rgb
from polyexport.model.tiles import TileRule
from polyexport.service.groups import deliver

__all__ = ["Batcher", "NetworkError", "QueueFullError", "QueueTimeoutError", "RunNetwork"]

_THREAD_END_TIMEOUT_S = 5.0


class NetworkError(Exception):
    """The network failed on this one canvas; the message is the first line of the runtime's error."""


class QueueFullError(Exception):
    """The batcher's queue holds as many requests as it may."""


class QueueTimeoutError(Exception):
    """The request waited longer in the queue than it may."""


RunNetwork = Callable[[Sequence[Canvas], Sequence[ConditionRows], Sequence[Rgb | None]], Sequence[Pixels]]
"""``run_placed`` with a loaded model: canvases of one shape, the rows of the conditions of each and the color of its
fill give one output for each, uint8 [s H, s W, C]."""

_Group = tuple[tuple[int, ...], TileRule | None]
"""Shape and rule for tiles of canvases that may share a call."""


@dataclass(frozen=True, slots=True, eq=False)
class _Queued:
    canvas: Canvas
    rows: ConditionRows
    color: Rgb | None
    result: asyncio.Future[Pixels]
    queued_at_s: float
    """Time at which the request was queued, on the clock of ``time.monotonic``."""

    @property
    def group(self) -> _Group:
        return self.canvas.pixels.shape, self.canvas.tiles


class Batcher:
    """A queue of canvases in front of one model. Its methods are called from one event loop."""

    def __init__(
        self,
        run: RunNetwork,
        *,
        run_alone: RunNetwork | None = None,
        calls: int = 1,
        max_batch_size: int,
        max_wait_ms: float,
        max_queued: int,
        max_queued_s: float,
        on_call: Callable[[int], None] = lambda size: None,
    ) -> None:
        """Start the threads that call the network.

        Args:
            run: runs a batch beside others; only the batcher's threads call it.
            run_alone: runs a batch that begins while no other one is running or waiting; None for ``run``.
            calls: number of batches that run side by side, each in a thread.
            max_batch_size: largest number of canvases in one call.
            max_wait_ms: longest time for which an incomplete batch waits for further canvases of its shape.
            max_queued: largest number of canvases in the queue.
            max_queued_s: longest time that a canvas may spend in the queue.
            on_call: called with the number of canvases of each call, in the thread of the call.
        """
        self._run = run
        self._run_alone = run_alone or run
        self._running = 0
        self._max_batch_size = max_batch_size
        self._max_wait_s = max_wait_ms / 1e3
        self._max_queued = max_queued
        self._max_queued_s = max_queued_s
        self._on_call = on_call
        self._queues: dict[_Group, list[_Queued]] = {}
        """Waiting requests by the group of their canvas, oldest first; no list is empty."""

        self._changed = threading.Condition()
        self._closed = False
        # A daemon: a call that is still running when the time to end is over must not keep the process alive.
        self._threads = [threading.Thread(target=self._work, name="network", daemon=True) for _ in range(calls)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_running(self) -> bool:
        """Whether the threads that call the network are alive."""
        return all(thread.is_alive() for thread in self._threads)

    async def submit(self, canvas: Canvas, rows: ConditionRows, color: Rgb | None = None) -> Pixels:
        """Queue one canvas and wait for its result; a cancelled caller's canvas leaves the queue.

        Args:
            canvas: an image on its canvas.
            rows: the rows of its conditions, in the order of the contract.
            color: the color in which the model fills; None if its result is no fill.

        Returns:
            The network's output, uint8 [s H, s W, C], of the canvas's height and width times the result's scale, or of
            those of its first look.

        Raises:
            QueueFullError: ``max_queued`` canvases are waiting.
            QueueTimeoutError: the canvas waited longer than ``max_queued_s``.
            NetworkError: the network failed on this canvas, in a call of its own.
        """
        queued = _Queued(canvas, rows, color, asyncio.get_running_loop().create_future(), time.monotonic())
        with self._changed:
            if sum(map(len, self._queues.values())) >= self._max_queued:
                raise QueueFullError
            self._queues.setdefault(queued.group, []).append(queued)
            self._changed.notify()
        try:
            return await queued.result
        except asyncio.CancelledError:
            with self._changed:
                waiting = self._queues.get(queued.group, [])
                if queued in waiting:
                    self._keep(queued.group, [other for other in waiting if other is not queued])
            raise

    def close(self) -> None:
        """End the threads behind their running calls, or leave those that take long to the end of the process."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        ends = time.monotonic() + _THREAD_END_TIMEOUT_S
        for thread in self._threads:
            thread.join(max(0.0, ends - time.monotonic()))

    def _work(self) -> None:
        while batch := self._next_batch():
            oldest_s = time.monotonic() - self._max_queued_s
            late = [queued for queued in batch if queued.queued_at_s < oldest_s]
            in_time = [queued for queued in batch if queued.queued_at_s >= oldest_s]
            if late:
                deliver([queued.result for queued in late], [QueueTimeoutError()] * len(late))
            if in_time:
                with self._changed:
                    run = self._run if self._running or self._queues else self._run_alone
                    self._running += 1
                try:
                    self._call(run, in_time)
                finally:
                    with self._changed:
                        self._running -= 1

    def _next_batch(self) -> list[_Queued]:
        """Wait until a batch is complete or overdue, and take the one that waits longest out of the queue."""
        with self._changed:
            while not self._closed:
                now_s = time.monotonic()
                ready = [
                    waiting
                    for waiting in self._queues.values()
                    if len(waiting) >= self._limit(waiting) or now_s >= waiting[0].queued_at_s + self._max_wait_s
                ]
                if ready:
                    waiting = min(ready, key=lambda waiting: waiting[0].queued_at_s)
                    limit = self._limit(waiting)
                    self._keep(waiting[0].group, waiting[limit:])
                    return waiting[:limit]
                oldest_s = min((waiting[0].queued_at_s for waiting in self._queues.values()), default=None)
                self._changed.wait(None if oldest_s is None else oldest_s + self._max_wait_s - now_s)
        return []

    def _limit(self, waiting: Sequence[_Queued]) -> int:
        return waiting[0].canvas.batch_limit(self._max_batch_size)

    def _keep(self, group: _Group, waiting: list[_Queued]) -> None:
        if waiting:
            self._queues[group] = waiting
        else:
            del self._queues[group]

    def _call(self, run: RunNetwork, batch: Sequence[_Queued]) -> None:
        """Call the network. When a call fails, each half of its batch is tried alone, down to single canvases."""
        outcomes: Sequence[Pixels | Exception]
        try:
            outcomes = run([one.canvas for one in batch], [one.rows for one in batch], [one.color for one in batch])
        except Exception as error:  # noqa: BLE001 - runtimes raise unrelated types; lack of memory is the usual cause
            if len(batch) > 1:
                half = len(batch) // 2
                self._call(run, batch[:half])
                self._call(run, batch[half:])
                return
            outcomes = [NetworkError(reason_of(error))]
        self._on_call(len(batch))
        deliver([queued.result for queued in batch], outcomes)
