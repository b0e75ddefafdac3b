import os
import signal
from collections.abc import Iterator
from types import FrameType

import pytest

from trainer.signals import signals_between_steps


class Ended(BaseException):
    """What the handler of the program raises."""


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    def end(number: int, _: FrameType | None) -> None:
        raise Ended(number)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, old in before.items():
        signal.signal(number, old)


def train(*events: int | Exception, deliver_after: int = 0) -> None:
    """A training in which these signals and failures come, one after the other."""
    with signals_between_steps() as deliver:
        for number, event in enumerate(events, 1):
            if isinstance(event, Exception):
                raise event
            os.kill(os.getpid(), event)
            if number == deliver_after:
                deliver()
        raise AssertionError("the training goes on")


def test_a_signal_takes_effect_between_steps() -> None:
    with pytest.raises(Ended) as ended:
        train(signal.SIGTERM, deliver_after=1)
    assert ended.value.args == (signal.SIGTERM,)


def test_a_second_signal_takes_effect_at_once() -> None:
    with pytest.raises(Ended) as ended:
        train(signal.SIGTERM, signal.SIGINT)
    assert ended.value.args == (signal.SIGINT,)


def test_a_failure_after_a_signal_is_the_signal() -> None:
    # SIGTERM to a whole process group ends the workers, and the training meets that first.
    with pytest.raises(Ended) as ended:
        train(signal.SIGTERM, RuntimeError("DataLoader worker is killed by signal: Terminated"))
    assert ended.value.args == (signal.SIGTERM,)


def test_a_failure_without_a_signal_stays_a_failure() -> None:
    with pytest.raises(RuntimeError, match="mine"):
        train(RuntimeError("mine"))
