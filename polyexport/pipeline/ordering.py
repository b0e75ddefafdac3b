"""Order and grouping of results: the rules that a run on one machine and a run on a cluster share.

Outputs are published in groups, so that many share one sync of the journal. Results are reported in the order of the
plan, each once, whatever the order in which they arrive.
"""

import math
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from polyexport.pipeline.results import ItemResult, RunReport

__all__ = ["JOURNAL_SYNC_DELAY_S", "OUTPUTS_PER_JOURNAL_SYNC", "ResultsInOrder", "SyncGroup"]

OUTPUTS_PER_JOURNAL_SYNC = 32
"""Size of a full group."""

JOURNAL_SYNC_DELAY_S = 0.25
"""Seconds after which a group is published although it is not full."""

T = TypeVar("T")


class SyncGroup(Generic[T]):
    """Members that are published together, with one sync of the journal. One thread at a time."""

    def __init__(self) -> None:
        self._members: list[T] = []
        self._oldest_at = math.inf

    def __bool__(self) -> bool:
        return bool(self._members)

    @property
    def overdue(self) -> bool:
        """Whether the oldest member has waited longer than ``JOURNAL_SYNC_DELAY_S``."""
        return time.monotonic() - self._oldest_at > JOURNAL_SYNC_DELAY_S

    def add(self, member: T) -> bool:
        """Add a member; returns whether the group is full."""
        if not self._members:
            self._oldest_at = time.monotonic()
        self._members.append(member)
        return len(self._members) >= OUTPUTS_PER_JOURNAL_SYNC

    def take(self) -> list[T]:
        """Return the members in the order in which they were added, and start a new group."""
        members, self._members = self._members, []
        self._oldest_at = math.inf
        return members


class ResultsInOrder:
    """Reports the results of a run in the order of the plan, and counts them. One thread at a time."""

    def __init__(self, on_result: Callable[[ItemResult], None]) -> None:
        """Start before the first result.

        Args:
            on_result: called once for each input, in the order of the plan.
        """
        self._on_result = on_result
        self._early: dict[int, ItemResult] = {}  # results that wait for the result of an earlier input
        self._counts = {"ok": 0, "failed": 0, "skipped": 0}
        self._written = 0
        self.reported = 0
        """Number of results reported so far."""

    def add(self, index: int, result: ItemResult) -> None:
        """Accept the result of one input, and report every result that no earlier input holds back.

        Args:
            index: position of the input in the plan.
            result: its result.
        """
        self._early[index] = result
        while self.reported in self._early:
            ready = self._early.pop(self.reported)
            self.reported += 1
            self._counts[ready.status] += 1
            self._written += ready.written
            self._on_result(ready)

    def report(self, *, seconds: float, execution_provider: str, cancelled: bool = False) -> RunReport:
        """Return the totals of the results reported so far."""
        return RunReport(
            **self._counts,
            written=self._written,
            seconds=seconds,
            execution_provider=execution_provider,
            cancelled=cancelled,
        )
