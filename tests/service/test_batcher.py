"""The batcher with a network that the tests control."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from polyexport.model.canvas import Canvas
from polyexport.service.batcher import Batcher, NetworkError, QueueFullError, QueueTimeoutError


def canvas_of(value: int, side: int = 4) -> Canvas:
    pixels = np.full((side, side, 3), value, np.uint8)
    return Canvas(pixels=pixels, height=side, width=side, inner_height=side, inner_width=side)


ROWS = (np.zeros(3, np.uint8),)


class Network:
    """Adds one to each canvas, and remembers the canvases of each call; fails on what it is told to."""

    def __init__(self, fails_on: Sequence[int] = ()) -> None:
        self.calls: list[list[int]] = []
        self.fails_on = set(fails_on)
        self.free = threading.Event()
        self.free.set()

    def __call__(self, canvases: Sequence[Any], rows: Sequence[Any], colors: Sequence[Any]) -> list[Any]:
        values = [int(canvas.pixels[0, 0, 0]) for canvas in canvases]
        self.calls.append(values)
        assert self.free.wait(30)
        assert len({canvas.pixels.shape for canvas in canvases}) == 1
        assert len(rows) == len(colors) == len(canvases)
        if self.fails_on & set(values):
            raise RuntimeError("no such canvas\nsecond line")
        return [canvas.pixels + 1 for canvas in canvases]

    def wait_for_calls(self, count: int) -> None:
        deadline = time.monotonic() + 30
        while len(self.calls) < count:
            assert time.monotonic() < deadline
            time.sleep(0.001)


@contextmanager
def batcher_of(network: Callable[..., Any], **options: Any) -> Iterator[Batcher]:
    defaults = {"max_batch_size": 4, "max_wait_ms": 0.0, "max_queued": 64, "max_queued_s": 30.0}
    with Batcher(network, **(defaults | options)) as batcher:
        yield batcher
    assert not batcher.is_running


async def results(batcher: Batcher, *canvases: Canvas) -> list[Any]:
    done = await asyncio.gather(*(batcher.submit(one, ROWS) for one in canvases), return_exceptions=True)
    return [one if isinstance(one, BaseException) else int(one[0, 0, 0]) for one in done]


def test_a_batch_is_not_larger_than_it_may_be_and_keeps_the_order() -> None:
    network = Network()
    sizes: list[int] = []
    with batcher_of(network, max_wait_ms=10_000, on_call=sizes.append) as batcher:
        assert asyncio.run(results(batcher, *map(canvas_of, range(8)))) == list(range(1, 9))
    assert network.calls == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert sizes == [4, 4]


def test_batches_run_side_by_side_and_one_that_is_alone_is_run_in_its_own_way() -> None:
    beside, alone = Network(), Network()
    for network in (beside, alone):
        network.free.clear()
    with batcher_of(beside, run_alone=alone, calls=3, max_batch_size=1) as batcher:

        async def run() -> list[Any]:
            first = asyncio.create_task(results(batcher, canvas_of(1)))
            await asyncio.to_thread(alone.wait_for_calls, 1)
            others = asyncio.create_task(results(batcher, *map(canvas_of, (2, 3, 4))))
            await asyncio.to_thread(beside.wait_for_calls, 2)  # both other threads; the fourth canvas waits
            await asyncio.sleep(0.05)
            assert (alone.calls, sorted(beside.calls)) == ([[1]], [[2], [3]])
            for network in (alone, beside):
                network.free.set()
            done = await first + await others
            while batcher._running:  # results are delivered before their threads are free
                await asyncio.sleep(0.001)
            return done + await results(batcher, canvas_of(5))

        assert asyncio.run(run()) == [2, 3, 4, 5, 6]
    assert sorted(beside.calls) == [[2], [3], [4]]
    assert alone.calls == [[1], [5]]


def test_an_incomplete_batch_waits_for_others_and_not_longer() -> None:
    network = Network()
    with batcher_of(network, max_wait_ms=200) as batcher:

        async def two() -> tuple[Any, Any]:
            first = asyncio.create_task(batcher.submit(canvas_of(1), ROWS))
            await asyncio.sleep(0.05)
            return await asyncio.gather(first, batcher.submit(canvas_of(2), ROWS))

        started = time.monotonic()
        asyncio.run(two())
        assert time.monotonic() - started >= 0.2
    assert network.calls == [[1, 2]]


def test_shapes_do_not_mix_and_none_waits_for_another() -> None:
    network = Network()
    canvases = [canvas_of(number, side=4 + number % 2) for number in range(8)]
    with batcher_of(network, max_wait_ms=10_000) as batcher:
        assert asyncio.run(results(batcher, *canvases)) == list(range(1, 9))
    assert network.calls == [[0, 2, 4, 6], [1, 3, 5, 7]]


def test_a_batch_takes_no_more_pixels_than_the_network_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyexport.model.canvas.MAX_NATIVE_PIXELS", 2 * 4 * 4)
    network = Network()
    with batcher_of(network) as batcher:
        assert asyncio.run(results(batcher, *map(canvas_of, range(4)))) == [1, 2, 3, 4]
    assert max(map(len, network.calls)) <= 2


def test_a_canvas_that_fails_takes_no_other_with_it() -> None:
    network = Network(fails_on=[2])
    sizes: list[int] = []
    with batcher_of(network, max_wait_ms=10_000, on_call=sizes.append) as batcher:
        done = asyncio.run(results(batcher, *map(canvas_of, range(4))))
    assert isinstance(done[2], NetworkError)
    assert str(done[2]) == "no such canvas"
    assert done[:2] + done[3:] == [1, 2, 4]
    assert network.calls == [[0, 1, 2, 3], [0, 1], [2, 3], [2], [3]]
    assert sizes == [2, 1, 1]


def test_a_cancelled_request_leaves_the_queue_and_the_others_stay() -> None:
    network = Network()
    network.free.clear()

    async def run(batcher: Batcher) -> list[Any]:
        running = [asyncio.create_task(batcher.submit(canvas_of(0), ROWS))]
        await asyncio.to_thread(network.wait_for_calls, 1)
        waiting = [asyncio.create_task(batcher.submit(canvas_of(number, side), ROWS)) for number, side in
                   ((1, 4), (2, 4), (3, 5))]  # fmt: skip
        await asyncio.sleep(0.05)
        for task in (running[0], waiting[0], waiting[2]):
            task.cancel()
        done = await asyncio.gather(running[0], waiting[0], waiting[2], return_exceptions=True)
        network.free.set()
        return [*done, int((await waiting[1])[0, 0, 0])]

    with batcher_of(network) as batcher:
        *cancelled, other = asyncio.run(run(batcher))
    assert all(isinstance(one, asyncio.CancelledError) for one in cancelled)
    assert other == 3
    assert network.calls == [[0], [2]]


def test_the_queue_is_bounded_and_nothing_waits_in_it_for_ever() -> None:
    network = Network()
    network.free.clear()

    async def run(batcher: Batcher) -> list[Any]:
        first = asyncio.create_task(batcher.submit(canvas_of(0), ROWS))
        await asyncio.to_thread(network.wait_for_calls, 1)
        late = [asyncio.create_task(batcher.submit(canvas_of(number), ROWS)) for number in (1, 2)]
        await asyncio.sleep(0.2)
        with pytest.raises(QueueFullError):
            await batcher.submit(canvas_of(3), ROWS)
        network.free.set()
        return [int((await first)[0, 0, 0]), *await asyncio.gather(*late, return_exceptions=True)]

    with batcher_of(network, max_queued=2, max_queued_s=0.1) as batcher:
        first, *late = asyncio.run(run(batcher))
    assert first == 1
    assert [type(one) for one in late] == [QueueTimeoutError] * 2
    assert network.calls == [[0]]


def test_results_for_an_event_loop_that_has_ended_are_dropped() -> None:
    network = Network()
    network.free.clear()

    async def run(batcher: Batcher) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(batcher.submit(canvas_of(0), ROWS), 0.1)

    with batcher_of(network) as batcher:
        asyncio.run(run(batcher))
        network.free.set()
        assert asyncio.run(results(batcher, canvas_of(1))) == [2]
