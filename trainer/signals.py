"""Signals during a training: they take effect between optimizer steps, and worker processes ignore Ctrl-C."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

__all__ = ["ignore_sigint", "signals_between_steps"]


def ignore_sigint(_worker: int) -> None:
    """Make a worker process ignore Ctrl-C, which reaches every process of a terminal; SIGTERM ends the worker.

    The training process decides how Ctrl-C ends the training.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def signals_between_steps() -> Iterator[Callable[[], None]]:
    """Delay the first SIGINT or SIGTERM until the yielded function is called; a second one takes effect at once.

    A failure inside of the block after a signal counts as the signal.
    A step that is interrupted in the middle leaves weights, averages and optimizer inconsistent with each other.
    """
    handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
    delayed: list[int] = []

    def delay(number: int, frame: FrameType | None) -> None:
        if delayed:
            handlers[number](number, frame)
        delayed.append(number)

    def deliver() -> None:
        if delayed:
            number = delayed[0]
            for each, handler in handlers.items():
                signal.signal(each, handler)
            handlers[number](number, None)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if callable(handler):
                handlers[number] = handler
                signal.signal(number, delay)
    try:
        yield deliver
    except Exception:
        deliver()  # a signal to the whole process group also ends the workers, and their loss fails the step
        raise
    finally:
        for each, handler in handlers.items():
            if signal.getsignal(each) is delay:
                signal.signal(each, handler)
