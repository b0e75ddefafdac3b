"""Threads that take several of the requests that wait for them at a time.

The way of a request between threads costs waking a thread, waiting for the interpreter's lock, and waking the event
loop. Those that wait together share it.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

__all__ = ["Groups", "attempt", "deliver"]

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting(Generic[_Item, _Answer]):
    item: _Item
    kind: Hashable
    answer: "asyncio.Future[_Answer]"


class Groups(Generic[_Item, _Answer]):
    """Work for a few threads, in the order in which it comes. Its methods are called from one event loop."""

    def __init__(
        self, work: Callable[[Sequence[_Item]], Sequence[_Answer | Exception]], *, threads: int, most: int, name: str
    ) -> None:
        """Start the threads.

        Args:
            work: does several items, and returns an answer or an error for each, in order.
            threads: number of threads.
            most: largest number of items that are done together.
            name: name of the threads.
        """
        self._work = work
        self._most = most
        self._waiting: deque[_Waiting[_Item, _Answer]] = deque()
        self._changed = threading.Condition()
        self._idle = 0
        # Daemons: work that goes on when the time to end is over must not keep the process alive.
        for _ in range(threads):
            threading.Thread(target=self._run, name=name, daemon=True).start()

    async def submit(self, item: _Item, kind: Hashable = None) -> _Answer:
        """Have an item done, together with others of its kind that wait beside it.

        Raises:
            Exception: the error that ``work`` gave for this item.
        """
        answer: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(item, kind, answer)
        with self._changed:
            self._waiting.append(waiting)
            self._changed.notify()
        return await answer

    def _run(self) -> None:
        while True:
            if not (group := self._next_group()):
                continue
            answers: Sequence[_Answer | Exception]
            try:
                answers = self._work([waiting.item for waiting in group])
            except Exception as error:  # noqa: BLE001 - whoever waits gets it
                answers = [error] * len(group)
            deliver([waiting.answer for waiting in group], answers)

    def _next_group(self) -> "list[_Waiting[_Item, _Answer]]":
        """Wait for items, and take this thread's share of those of one kind."""
        with self._changed:
            self._idle += 1
            while not self._waiting:
                self._changed.wait()
            share = -(-len(self._waiting) // self._idle)
            self._idle -= 1
            group: list[_Waiting[_Item, _Answer]] = []
            while self._waiting and len(group) < min(share, self._most):
                if group and self._waiting[0].kind != group[0].kind:
                    break
                waiting = self._waiting.popleft()
                if not waiting.answer.cancelled():  # else its client has gone
                    group.append(waiting)
            if self._waiting:
                self._changed.notify()
            return group


def deliver(futures: "Sequence[asyncio.Future[Any]]", outcomes: Sequence[Any]) -> None:
    """Give each future of one event loop its result or error, from another thread, waking the loop once.

    Args:
        futures: at least one; those that are cancelled are passed over, as their clients have gone.
        outcomes: a result or an exception for each.
    """

    def resolve() -> None:
        for future, outcome in zip(futures, outcomes, strict=True):
            if future.done():
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    with contextlib.suppress(RuntimeError):  # the event loop has ended, and with it everybody who waited
        futures[0].get_loop().call_soon_threadsafe(resolve)


def attempt(function: Callable[..., _Answer], *arguments: Any) -> _Answer | Exception:
    """Call a function, and return its result or the error that it raised."""
    try:
        return function(*arguments)
    except Exception as error:  # noqa: BLE001 - raised again where the answer is awaited
        return error
