"""Threads that take several of the requests that wait for them at a time."""

import asyncio
import itertools
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from polyexport.service.groups import Groups, attempt


class Work:
    """Doubles numbers, and remembers what was done together; waits until it is let go, fails on negative numbers."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.let_go = threading.Event()
        self.started = threading.Semaphore(0)

    def __call__(self, items: Sequence[int]) -> list[int | Exception]:
        self.groups.append(list(items))
        self.started.release()
        assert self.let_go.wait(30)
        return [attempt(self.double, item) for item in items]

    @staticmethod
    def double(item: int) -> int:
        if item < 0:
            raise ValueError(f"{item} is negative")
        return 2 * item


async def answers(groups: Groups[int, int], items: Sequence[int], kinds: Sequence[Any] = ()) -> list[Any]:
    given = kinds or [None] * len(items)
    waits = [groups.submit(item, kind) for item, kind in zip(items, given, strict=True)]
    return await asyncio.gather(*waits, return_exceptions=True)


async def behind_a_first(work: Work, groups: Groups[int, int], items: Sequence[int], kinds: Sequence[Any] = ()) -> Any:
    """Answers to items that wait until the one thread has done a first one."""
    first = asyncio.create_task(groups.submit(100))
    await asyncio.to_thread(work.started.acquire)
    rest = asyncio.create_task(answers(groups, items, kinds))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    work.let_go.set()
    assert await first == 200
    return await rest


def test_what_waits_is_done_together_in_order_up_to_a_number() -> None:
    work = Work()
    groups = Groups(work, threads=1, most=3, name="t")
    assert asyncio.run(behind_a_first(work, groups, range(5))) == [0, 2, 4, 6, 8]
    assert work.groups == [[100], [0, 1, 2], [3, 4]]


def test_only_items_of_one_kind_are_done_together() -> None:
    work = Work()
    groups = Groups(work, threads=1, most=8, name="t")
    alone = object()
    asyncio.run(behind_a_first(work, groups, range(5), ["a", "a", alone, "b", "b"]))
    assert work.groups == [[100], [0, 1], [2], [3, 4]]


def test_an_item_that_fails_fails_alone() -> None:
    work = Work()
    groups = Groups(work, threads=1, most=8, name="t")
    one, two, three = asyncio.run(behind_a_first(work, groups, [1, -2, 3]))
    assert (one, three) == (2, 6)
    assert str(two) == "-2 is negative"


def test_work_that_fails_as_a_whole_fails_for_each_and_the_thread_goes_on() -> None:
    failures = iter([True, False])

    def work(items: Sequence[int]) -> list[int | Exception]:
        if next(failures):
            raise MemoryError("no more")
        return [2 * item for item in items]

    groups: Groups[int, int] = Groups(work, threads=1, most=8, name="t")
    with pytest.raises(MemoryError, match="no more"):
        asyncio.run(groups.submit(1))
    assert asyncio.run(groups.submit(1)) == 2


def test_an_item_whose_client_has_gone_is_not_done() -> None:
    work = Work()
    groups = Groups(work, threads=1, most=8, name="t")

    async def run() -> list[int]:
        first = asyncio.create_task(groups.submit(100))
        await asyncio.to_thread(work.started.acquire)
        gone, stays = (asyncio.create_task(groups.submit(item)) for item in (1, 2))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        work.let_go.set()
        return [await first, await stays]

    assert asyncio.run(run()) == [200, 4]
    assert work.groups == [[100], [2]]


def test_idle_threads_share_what_waits() -> None:
    work = Work()
    groups = Groups(work, threads=2, most=8, name="t")

    async def run() -> list[Any]:
        firsts = asyncio.create_task(answers(groups, [100, 101]))
        for _ in range(2):
            await asyncio.to_thread(work.started.acquire)
        rest = asyncio.create_task(answers(groups, range(6)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        work.let_go.set()
        return [*await firsts, *await rest]

    assert asyncio.run(run()) == [200, 202, 0, 2, 4, 6, 8, 10]
    assert sorted(itertools.chain(*work.groups[2:])) == [0, 1, 2, 3, 4, 5]
