"""The process that holds the plan: what it makes of answers, and of the machines of a cluster."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from color_settings import setting

from polyexport.cluster import run
from polyexport.cluster.messages import Answer, BlockAnswer
from polyexport.cluster.run import ResultPublisher
from polyexport.errors import OutputError
from polyexport.pipeline.job import Job
from polyexport.pipeline.ordering import OUTPUTS_PER_JOURNAL_SYNC
from polyexport.pipeline.outputs.disk import OutputFolder, UnpublishedOutput
from polyexport.pipeline.plan import Item, make_plan
from polyexport.pipeline.results import ItemResult, Timings


@dataclass
class Folder:
    """Remembers what it is told to name."""

    named: list[list[str]] = field(default_factory=list)

    def publish(self, pending: Sequence[UnpublishedOutput]) -> list[str]:
        self.named.append([one.output for one in pending])
        return [""] * len(pending)


def skipped(count: int = 1) -> BlockAnswer:
    return BlockAnswer((Answer("skipped", "", (), Timings(), ()),) * count, "cpu")


def test_skipped_inputs_are_reported_on_the_way_and_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 5 * OUTPUTS_PER_JOURNAL_SYNC + 3
    items = tuple(Item(f"{number}", f"{number}.png", (setting("red"),)) for number in range(count))
    told: list[ItemResult] = []
    publisher = ResultPublisher(items, Folder(), lambda *provider: None, told.append)  # type: ignore[arg-type]
    publisher.take(range(OUTPUTS_PER_JOURNAL_SYNC + 1), skipped(OUTPUTS_PER_JOURNAL_SYNC + 1))
    publisher.take(range(3, 9), skipped(6))  # answered twice
    assert len(told) == publisher.reported == OUTPUTS_PER_JOURNAL_SYNC
    publisher.publish_overdue()
    assert publisher.reported == OUTPUTS_PER_JOURNAL_SYNC  # it has not waited long enough
    monkeypatch.setattr("polyexport.pipeline.ordering.JOURNAL_SYNC_DELAY_S", -1.0)
    publisher.publish_overdue()
    assert publisher.reported == OUTPUTS_PER_JOURNAL_SYNC + 1
    for index in reversed(range(OUTPUTS_PER_JOURNAL_SYNC + 1, count)):  # blocks come in any order
        publisher.take([index], skipped())
    assert publisher.complete
    assert [result.item for result in told] == list(items)


def test_an_answer_that_ends_the_run_keeps_its_exit_code() -> None:
    items = (Item("0", "0.png", (setting("red"),)),)
    publisher = ResultPublisher(items, Folder(), lambda *provider: None, lambda result: None)  # type: ignore[arg-type]
    with pytest.raises(Exception, match="no provider") as caught:
        publisher.take([0], BlockAnswer(error="no provider", remedy="install it", exit_code=6))
    assert (caught.value.exit_code, caught.value.remedy) == (6, "install it")  # type: ignore[attr-defined]


@pytest.mark.parametrize("actor_says_so", [True, False])
def test_a_folder_that_was_moved_is_the_reason_whatever_an_actor_says(
    tiny_model_path: Path, drawings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, actor_says_so: bool
) -> None:
    """An actor that starts after the folder was moved does not find it; others go on writing into it."""

    def publish_all(*_: object) -> None:
        (tmp_path / "out").rename(tmp_path / "moved")
        if actor_says_so:
            raise OutputError(
                "cannot write to out (No such file or directory) (on elsewhere)", remedy="free space there"
            )

    monkeypatch.setattr(run, "_publish_all", publish_all)
    job = Job(plan=make_plan([drawings], [setting("red")], output=tmp_path / "out"))
    with (
        OutputFolder(tmp_path / "out") as folder,
        pytest.raises(OutputError, match=f"the outputs were written to {tmp_path / 'moved'}"),
    ):
        run.run_on_cluster(job, run.Cluster(), tiny_model_path, folder=folder)
