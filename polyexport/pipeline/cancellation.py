"""Cancellation: another thread ends a run cleanly, as an interrupt of the terminal ends the command line."""

from concurrent.futures import Future
from typing import Protocol, TypeVar

__all__ = ["NEVER", "Cancellation", "RunCancelledError", "Switch"]

_POLL_S = 0.05  # longest time from a cancellation to its effect, where the run waits for a stage

T = TypeVar("T")


class Switch(Protocol):
    """Anything that can be asked whether a run is to end, such as a ``threading.Event``."""

    def is_set(self) -> bool:
        """Return whether the run is to end."""
        ...


class RunCancelledError(Exception):
    """The run was cancelled. No caller sees it: a run that was cancelled returns a report."""


class Cancellation:
    """Waiting that ends when a run is cancelled."""

    def __init__(self, switch: Switch | None = None) -> None:
        """Use a switch.

        Args:
            switch: ends the run when it is set; None for a run that nothing but a signal ends.
        """
        self._switch = switch

    @property
    def requested(self) -> bool:
        """Whether the run is to end."""
        return self._switch is not None and self._switch.is_set()

    def check(self) -> None:
        """Raise a RunCancelledError if the run is to end."""
        if self.requested:
            raise RunCancelledError

    def result_of(self, future: Future[T]) -> T:
        """Wait for a result.

        Raises:
            RunCancelledError: the run is to end; the result is not waited for.
        """
        if self._switch is None:
            return future.result()
        while True:
            self.check()
            try:
                return future.result(_POLL_S)
            except TimeoutError:
                if future.done():  # just now, or with a TimeoutError of its own
                    return future.result()


NEVER = Cancellation()
"""Cancellation of a run that nothing but a signal ends."""
