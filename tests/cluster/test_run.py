"""The process that holds the plan: what it makes of answers, and of the machines of a cluster."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from polyexport.cluster.messages import Answer
from polyexport.cluster.run import ResultPublisher
from polyexport.imaging.color import parse_color
from polyexport.pipeline.ordering import OUTPUTS_PER_JOURNAL_SYNC
from polyexport.pipeline.outputs.disk import UnpublishedOutput
from polyexport.pipeline.plan import Item
from polyexport.pipeline.results import ItemResult, Timings


@dataclass
class Folder:
    """Remembers what it is told to name."""

    named: list[list[str]] = field(default_factory=list)

    def publish(self, pending: Sequence[UnpublishedOutput]) -> list[str]:
        self.named.append([one.output for one in pending])
        return [""] * len(pending)


def row(index: int, status: Any = "skipped") -> dict[str, Any]:
    answer = Answer(status, "", (), Timings(), ()).to_json()
    return {"index": index, "answer": answer, "error": "", "exit_code": 0, "provider": "cpu", "fallback": ""}


def test_skipped_inputs_are_reported_on_the_way_and_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 5 * OUTPUTS_PER_JOURNAL_SYNC + 3
    items = tuple(Item(f"{number}", f"{number}.png", (parse_color("red"),)) for number in range(count))
    told: list[ItemResult] = []
    run = ResultPublisher(items, Folder(), lambda *provider: None, told.append)  # type: ignore[arg-type]
    for index in range(OUTPUTS_PER_JOURNAL_SYNC + 1):
        run.take(row(index))
        run.take(row(index))  # delivered twice
    assert len(told) == run.reported == OUTPUTS_PER_JOURNAL_SYNC
    run.publish_overdue()
    assert run.reported == OUTPUTS_PER_JOURNAL_SYNC  # it has not waited long enough
    monkeypatch.setattr("polyexport.pipeline.ordering.JOURNAL_SYNC_DELAY_S", -1.0)
    run.publish_overdue()
    assert run.reported == OUTPUTS_PER_JOURNAL_SYNC + 1
    for index in reversed(range(OUTPUTS_PER_JOURNAL_SYNC + 1, count)):  # blocks come in any order
        run.take(row(index))
    assert run.complete
    assert [result.item for result in told] == list(items)


def test_a_row_that_ends_the_run_keeps_its_exit_code() -> None:
    items = (Item("0", "0.png", (parse_color("red"),)),)
    run = ResultPublisher(items, Folder(), lambda *provider: None, lambda result: None)  # type: ignore[arg-type]
    with pytest.raises(Exception, match="no provider") as caught:
        run.take(row(0) | {"error": "no provider\0install it", "exit_code": 6})
    assert (caught.value.exit_code, caught.value.remedy) == (6, "install it")  # type: ignore[attr-defined]
    assert json.loads(row(0)["answer"])["outputs"] == []
