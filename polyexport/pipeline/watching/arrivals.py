"""Arrivals in a watched folder: which files are complete, which are being written, and which have been taken.

The system does not tell when a writer is done, so a file counts as complete when nothing about it has changed for
``SETTLE_S``. A slow writer may pause for longer than that. A file that fails is therefore looked at a second time, when
it has not changed for ``GRACE_S``, and only then its failure is final.
"""

import heapq
import os
import stat
from collections.abc import Callable, Collection
from dataclasses import dataclass

__all__ = ["GRACE_S", "SETTLE_S", "Arrival", "Arrivals"]

SETTLE_S = 0.5
"""Seconds without a change after which a file counts as complete."""

GRACE_S = 5.0
"""Seconds without a change after which a failure of a file is final."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A file that counts as complete."""

    relative: str
    """Path relative to the watched folder."""

    state: int
    """State of the file when it was looked at."""

    since: float
    """Time at which the file was first seen in this state, seconds of a monotonic clock."""

    final: bool
    """Whether it has not changed for ``GRACE_S``, so that a failure is final."""


@dataclass(slots=True)
class _Pending:
    """A file that is waited for."""

    state: int
    since: float
    due: float


class Arrivals:
    """Files of a watched folder, by their relative paths, from their appearance to their removal.

    Size, both times and number of a file make its state, so that another file under the same name is a change, too. A
    million files take about 300 MB.
    """

    def __init__(self, source: Callable[[str], str]) -> None:
        """Begin with no file.

        Args:
            source: gives the path to open of a relative path.
        """
        self._source = source
        self._pending: dict[str, _Pending] = {}
        self._queue: list[tuple[float, str]] = []
        """Heap of the times at which pending files are looked at, each file once."""
        self._taken: dict[str, int] = {}
        """State in which each file was taken the last time."""

    @property
    def waiting(self) -> int:
        """Number of files that are waited for."""
        return len(self._pending)

    @property
    def next_due(self) -> float:
        """Time at which the next file is to be looked at; infinity if there is none."""
        return self._queue[0][0] if self._queue else float("inf")

    def notice(self, relative: str, now: float) -> bool:
        """Look at a file that may have appeared, changed or gone.

        Args:
            relative: path relative to the watched folder.
            now: seconds of a monotonic clock.

        Returns:
            Whether the file exists.
        """
        if relative in self._pending:
            return True  # it is looked at when it is due
        state = self._state(relative)
        if state is None:
            self._taken.pop(relative, None)
            return False
        if self._taken.get(relative) != state:
            self._wait_for(relative, _Pending(state, now, now + SETTLE_S))
        return True

    def take(self, limit: int, now: float, gone: Callable[[str], None]) -> list[Arrival]:
        """Return files that are complete, those first that have been complete for the longest time.

        Args:
            limit: largest number of files.
            now: seconds of a monotonic clock.
            gone: called with each file that was waited for and has been removed.
        """
        arrivals: list[Arrival] = []
        while self._queue and self._queue[0][0] <= now and len(arrivals) < limit:
            _, relative = heapq.heappop(self._queue)
            pending = self._pending.pop(relative)
            state = self._state(relative)
            if state is None:
                self._taken.pop(relative, None)
                gone(relative)
            elif state != pending.state:
                self._wait_for(relative, _Pending(state, now, now + SETTLE_S))
            else:
                arrivals.append(Arrival(relative, state, pending.since, now - pending.since >= GRACE_S))
        return arrivals

    def is_final(self, arrival: Arrival) -> bool:
        """Return whether a failure of a file is final: the file is still as it was taken, and was so for a while."""
        return arrival.final and self._state(arrival.relative) == arrival.state

    def finish(self, arrival: Arrival) -> None:
        """Remember that a file was taken; it is waited for again when it changes."""
        self._taken[arrival.relative] = arrival.state

    def hold(self, arrival: Arrival) -> None:
        """Wait for a file that failed although it seemed complete, until its failure would be final."""
        due = arrival.since + GRACE_S
        self._wait_for(arrival.relative, _Pending(arrival.state, arrival.since, due))

    def missing_from(self, listed: Collection[str]) -> list[str]:
        """Return the files that were taken and that a complete listing of the folder does not have."""
        return [relative for relative in self._taken if relative not in listed]

    def _wait_for(self, relative: str, pending: _Pending) -> None:
        self._pending[relative] = pending
        heapq.heappush(self._queue, (pending.due, relative))

    def _state(self, relative: str) -> int | None:
        """Return a number that changes with the file, or None if there is no such file; a link is none."""
        try:
            status = os.stat(self._source(relative), follow_symlinks=False)  # noqa: PTH116
        except (OSError, ValueError):
            return None
        if stat.S_ISLNK(status.st_mode) or stat.S_ISDIR(status.st_mode):
            return None
        return hash((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
