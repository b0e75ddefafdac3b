"""Dispatch of blocks on a real Ray of this machine, to actors that are lost or do not start."""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from polyexport.cluster import dispatch
from polyexport.cluster.connection import connected
from polyexport.cluster.messages import BlockAnswer
from polyexport.errors import PolyexportError

INPUTS = 200


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    with connected(None) as module:
        yield module


def answered(ray: Any, worker: type, monkeypatch: pytest.MonkeyPatch, options: Any = None) -> list[int]:
    """Return the inputs in the order in which they were answered."""
    monkeypatch.setattr(dispatch, "Worker", worker)
    inputs: list[int] = []
    tasks = [str(number) for number in range(INPUTS)]
    with dispatch.Dispatcher(ray, tasks, options, actors=2, resources={"CPU": 1.0}) as dispatcher:
        while len(inputs) < INPUTS:
            received = dispatcher.take(time.monotonic() + 60)
            assert received is not None
            block, answer = received
            assert answer.provider == ",".join(str(index) for index in block.inputs)
            inputs.extend(block.inputs)
    return inputs


@pytest.mark.slow
def test_an_actor_that_is_lost_is_replaced(ray: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Worker:
        def __init__(self, marker: Path) -> None:
            self.marker = marker

        def started(self) -> None:
            pass

        def answer(self, tasks: Sequence[str]) -> str:
            if not self.marker.exists():
                self.marker.touch()
                os._exit(1)
            return BlockAnswer(provider=",".join(tasks)).to_json()

    inputs = answered(ray, Worker, monkeypatch, tmp_path / "one was lost")
    assert sorted(inputs) == list(range(INPUTS))
    assert (tmp_path / "one was lost").exists()


@pytest.mark.slow
def test_actors_that_never_start_end_the_run_with_their_reason(ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Worker:
        def __init__(self, _: Any) -> None:
            raise RuntimeError("no memory for a session")

        def started(self) -> None:
            pass

    with pytest.raises(PolyexportError, match=r"the actors do not start \(RuntimeError: no memory for a session\)"):
        answered(ray, Worker, monkeypatch)


@pytest.mark.slow
def test_inputs_that_end_every_actor_end_the_run(ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Worker:
        def __init__(self, _: Any) -> None:
            pass

        def started(self) -> None:
            pass

        def answer(self, tasks: Sequence[str]) -> str:
            if "0" in tasks:
                os._exit(1)
            return BlockAnswer(provider=",".join(tasks)).to_json()

    with pytest.raises(PolyexportError, match="5 actors were lost while they had the .* inputs from number 1 on"):
        answered(ray, Worker, monkeypatch)
