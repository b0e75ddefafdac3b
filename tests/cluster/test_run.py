"""The process that holds the plan: what it makes of answers, and of the machines of a cluster."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from polyexport.cluster.messages import Answer
from polyexport.cluster.run import _GROUP, _actors, _Run
from polyexport.errors import ProviderError, UsageError
from polyexport.imaging.color import parse_color
from polyexport.pipeline.job import Job
from polyexport.pipeline.outputs.disk import Pending
from polyexport.pipeline.outputs.prior_results import Survey
from polyexport.pipeline.plan import Item, Plan
from polyexport.pipeline.run import ItemResult, Timings


@dataclass
class Folder:
    """Remembers what it is told to name."""

    named: list[list[str]] = field(default_factory=list)

    def commit(self, pending: Sequence[Pending]) -> list[str]:
        self.named.append([one.output for one in pending])
        return [""] * len(pending)


def row(index: int, status: Any = "skipped") -> dict[str, Any]:
    answer = Answer(status, "", (), Timings(), ()).to_json()
    return {"index": index, "answer": answer, "error": "", "exit_code": 0, "provider": "cpu", "fallback": ""}


def test_skipped_inputs_are_reported_on_the_way_and_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 5 * _GROUP + 3
    items = tuple(Item(f"{number}", f"{number}.png", (parse_color("red"),)) for number in range(count))
    job = Job(plan=Plan(items=items, output=Path("out")))
    told: list[ItemResult] = []
    survey = Survey(standing=bytearray(count), journal=None, retry_failed=False)
    run = _Run(job, Folder(), survey, lambda *provider: None, told.append)  # type: ignore[arg-type]
    for index in range(_GROUP + 1):
        run.take(row(index))
        run.take(row(index))  # delivered twice
    assert len(told) == run.reported == _GROUP
    run.settle()
    assert run.reported == _GROUP  # it has not waited long enough
    monkeypatch.setattr("polyexport.cluster.run._GROUP_S", -1.0)
    run.settle()
    assert run.reported == _GROUP + 1
    for index in reversed(range(_GROUP + 1, count)):  # blocks come in any order
        run.take(row(index))
    assert run.complete
    assert [result.item for result in told] == list(items)


def test_actors_find_a_place_on_a_machine_and_not_on_the_sum_of_them() -> None:
    small, large = {"CPU": 1.0}, {"CPU": 5.0, "memory": 1e9}
    assert _actors([small, small], "cpu", 1) == (2, {"CPU": 1.0})
    assert _actors([small, large], "auto", 2) == (2, {"CPU": 2.0})
    with pytest.raises(UsageError, match="largest machine of the cluster has 1 cores"):
        _actors([small, small], "cpu", 2)
    with pytest.raises(UsageError, match="has 0 cores"):
        _actors([], "cpu", 1)
    gpus = [{"CPU": 8.0, "GPU": 2.0}, {"CPU": 1.0, "GPU": 4.0}, small]
    assert _actors(gpus, "auto", 4) == (3, {"GPU": 1.0, "CPU": 1.0})
    assert _actors(gpus, "cuda", 1) == (3, {"GPU": 1.0, "CPU": 1.0})
    assert _actors(gpus, "cpu", 1) == (10, {"CPU": 1.0})
    with pytest.raises(ProviderError, match="needs a GPU"):
        _actors([small], "cuda", 1)


def test_a_row_that_ends_the_run_keeps_its_exit_code() -> None:
    plan = Plan(items=(Item("0", "0.png", (parse_color("red"),)),), output=Path("out"))
    survey = Survey(standing=bytearray(1), journal=None, retry_failed=False)
    run = _Run(Job(plan=plan), Folder(), survey, lambda *provider: None, lambda result: None)  # type: ignore[arg-type]
    with pytest.raises(Exception, match="no provider") as caught:
        run.take(row(0) | {"error": "no provider\0install it", "exit_code": 6})
    assert (caught.value.exit_code, caught.value.remedy) == (6, "install it")  # type: ignore[attr-defined]
    assert json.loads(row(0)["answer"])["pending"] == []
