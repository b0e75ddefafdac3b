"""Run of a plan on a Ray cluster: the same stages, journal and report as on one machine.

The process that the user started holds the output folder. It compares the folder with its journal, hands the inputs to
the actors, and publishes the outputs that they have staged in the folder: journaled first, in groups, each once. The
inputs of a lost actor are handed out again; what is answered twice is dropped here, and what a lost actor has staged is
removed with the other temporary files when the folder is closed.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polyexport
from polyexport.cluster.actors import machine_resources, size_actors
from polyexport.cluster.connection import connected
from polyexport.cluster.dispatch import Dispatcher
from polyexport.cluster.messages import Answer, BlockAnswer, Task, absolute
from polyexport.cluster.worker import WorkerOptions
from polyexport.errors import ExitCode, PolyexportError
from polyexport.model.file import default_model_path, read_model
from polyexport.model.loading.limits import DEFAULT_LIMITS, LoadLimits
from polyexport.model.loading.load import open_model
from polyexport.pipeline.job import Job, report_tiles
from polyexport.pipeline.ordering import ResultsInOrder, SyncGroup
from polyexport.pipeline.outputs.disk import OutputFolder
from polyexport.pipeline.outputs.prior_results import PriorResults, read_prior_results
from polyexport.pipeline.outputs.store import StoreFolder
from polyexport.pipeline.plan import Item, mark_clashes, output_name
from polyexport.pipeline.recipes import recipes_of
from polyexport.pipeline.results import ItemResult, RunReport
from polyexport.runtime.providers import AUTO
from polyexport.runtime.session import SessionOptions

if TYPE_CHECKING:
    from polyexport.model.tile_difference import TileDifference

__all__ = ["Cluster", "ResultPublisher", "run_on_cluster"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """Machines of a run, and how long they may take."""

    address: str | None = None
    """``HOST:PORT`` of the cluster's head, ``auto`` for the cluster of this machine, or None for this machine alone."""

    time_limit_s: float = 0.0
    """Seconds after which the run is given up; 0 for no limit."""

    provider: str = AUTO
    jobs: int = 0
    """Decoding processes of each actor; 0 to choose."""

    limits: LoadLimits = DEFAULT_LIMITS
    """Limits of the first load of an unknown model file, on this machine; the actors load the file that passed."""

    def __post_init__(self) -> None:
        if not 0 <= self.time_limit_s < math.inf:
            raise ValueError(f"the time limit must be a finite number of seconds, 0 or more, got {self.time_limit_s}")


def run_on_cluster(
    job: Job,
    cluster: Cluster,
    model: Path | None,
    *,
    signed_by: Path | None = None,
    folder: OutputFolder | StoreFolder,
    on_provider: Callable[[str, str], None] = lambda execution_provider, fallback_reason: None,
    on_tiles: Callable[["TileDifference"], None] = lambda difference: None,
    on_result: Callable[[ItemResult], None] = lambda result: None,
) -> RunReport:
    """Make every output of a plan that earlier runs have not made, on the machines of a cluster.

    Args:
        job: inputs, outputs and settings.
        cluster: machines of the run.
        model: a model file, which is sent to the machines; the shipped model if None.
        signed_by: public key, PEM, with which the model file must have been signed.
        folder: the plan's output folder, locked, on a file system that every machine of the cluster has at one path.
        on_provider: called with each execution provider that an actor took, and why it took no better one.
        on_tiles: called before the first image if images are cut into tiles that do not give the result of the whole
            image, with the difference on a sample.
        on_result: called once per input, from the calling thread, in the order of the plan.

    Raises:
        UsageError: outputs exist that no run made, a size that the network cannot take, or a malformed address.
        ColorError: a color that the model does not know.
        ModelError: a model that is refused.
        ProviderError: an execution provider that cannot be used on a machine of the cluster.
        OutputError: the output folder became unusable, was moved or removed, or a machine of the cluster does not see
            it.
        PolyexportError: no cluster answers, it has lost all its machines, or the time limit has passed.
    """
    plan = mark_clashes(job.plan, folder.spelling)
    prior_results = read_prior_results(
        plan, folder, folder.journal, overwrite=job.overwrite, retry_failed=job.retry_failed
    )
    # This machine may have another processor than the cluster, so it loads the model only to check the job.
    file = model if model is not None else default_model_path()
    data = read_model(file, signed_by=signed_by)
    checked = open_model(data, SessionOptions(provider="cpu", threads=1), name=str(file), limits=cluster.limits)
    job.finishing.check(checked.contract.result, checked.conditions)
    canvas_rule = checked.contract.canvas_rule(job.size, tiles=job.tiles)
    recipes_of(job.plan, checked, canvas_rule, job.finishing)
    report_tiles(checked, canvas_rule, plan.settings[0], on_tiles)
    options = WorkerOptions(
        output=folder.root.absolute() if isinstance(folder.root, Path) else folder.root,
        model=folder.stage(data),
        model_sha256=checked.sha256,
        model_name=str(file),
        provider=cluster.provider,
        size=job.size,
        tiles=job.tiles,
        finishing=job.finishing,
        pictures=job.plan.pictures,
        retry_failed=job.retry_failed,
        batch_size=job.batch_size,
        threads=job.threads or 1,
        jobs=cluster.jobs or 1,
        images=job.plan.outputs,
        version=polyexport.__version__,
    )
    publisher = ResultPublisher(plan.items, folder, on_provider, on_result)
    started = time.monotonic()
    try:
        _publish_all(publisher, _tasks(plan.items, prior_results), cluster, options, started)
    except PolyexportError:
        folder.check_place()  # an actor that does not find the folder cannot say where it was moved to
        raise
    folder.check_place()
    return publisher.report(time.monotonic() - started)


def _publish_all(
    publisher: "ResultPublisher",
    tasks: Sequence[str],
    cluster: Cluster,
    options: WorkerOptions,
    started: float,
) -> None:
    """Start the actors, and publish what they stage until every input is reported.

    Args:
        publisher: publishes and reports.
        tasks: a ``Task`` for each input, as JSON text.
        cluster: machines of the run.
        options: settings of the actors.
        started: time of ``time.monotonic`` at which the run started.
    """
    with connected(cluster.address, timeout_s=cluster.time_limit_s or math.inf) as ray:
        actors, resources = size_actors(machine_resources(ray), cluster.provider, options.threads)
        deadline = started + cluster.time_limit_s if cluster.time_limit_s else math.inf
        with Dispatcher(ray, tasks, options, actors=actors, resources=resources) as dispatcher:
            while not publisher.complete:
                received = dispatcher.take(deadline)
                if received is None:
                    raise PolyexportError(
                        f"{publisher.reported} of {len(tasks)} images were done after {cluster.time_limit_s:g} s, "
                        "the time limit",
                        remedy="run the same command again, which carries on, with more time or more machines",
                    )
                block, answer = received
                publisher.take(block.inputs, answer)
                publisher.publish_overdue()


class ResultPublisher:
    """Publishes the outputs that the actors staged, and reports each input once, in the order of the plan."""

    def __init__(
        self,
        items: Sequence[Item],
        folder: OutputFolder | StoreFolder,
        on_provider: Callable[[str, str], None],
        on_result: Callable[[ItemResult], None],
    ) -> None:
        """Start before the first answer.

        Args:
            items: inputs of the plan.
            folder: the plan's output folder, locked.
            on_provider: called with each execution provider that an actor took, and why it took no better one.
            on_result: called once per input, in the order of the plan.
        """
        self._items = items
        self._folder = folder
        self._on_provider = on_provider
        self._providers: dict[tuple[str, str], None] = {}
        self._received = bytearray(len(items))
        self._inputs_left = len(items)
        self._group: SyncGroup[tuple[int, Answer]] = SyncGroup()
        self._results = ResultsInOrder(on_result)

    @property
    def reported(self) -> int:
        """Number of inputs that have been reported."""
        return self._results.reported

    @property
    def complete(self) -> bool:
        """Whether every input has been reported."""
        return self.reported == len(self._items)

    def take(self, inputs: Sequence[int], answer: BlockAnswer) -> None:
        """Accept the answer to a block; results of inputs that were answered before are dropped.

        Args:
            inputs: positions of the block's inputs in the plan.
            answer: what an actor answered.

        Raises:
            PolyexportError: the actor says that the run cannot go on.
            OutputError: the output folder became unusable.
        """
        if answer.error:
            error = PolyexportError(answer.error, remedy=answer.remedy)
            error.exit_code = ExitCode(answer.exit_code)
            raise error
        provider = answer.provider, answer.fallback_reason
        if provider not in self._providers:
            self._providers[provider] = None
            self._on_provider(*provider)
        for index, one in zip(inputs, answer.answers, strict=True):
            if self._received[index]:
                continue
            self._received[index] = 1
            self._inputs_left -= 1
            full = self._group.add((index, one))
            if full or not self._inputs_left:
                self._publish()

    def publish_overdue(self) -> None:
        """Publish and report the current group if it has waited long enough.

        Raises:
            OutputError: the output folder became unusable.
        """
        if self._group.overdue:
            self._publish()

    def _publish(self) -> None:
        group = self._group.take()
        reasons = iter(self._folder.publish([output for _, answer in group for output in answer.outputs]))
        for index, result in [(index, _result(self._items[index], answer, reasons)) for index, answer in group]:
            self._results.add(index, result)

    def report(self, seconds: float) -> RunReport:
        """Return the totals of the run."""
        providers = {provider for provider, _ in self._providers}
        return self._results.report(seconds=seconds, execution_provider=", ".join(sorted(providers)))


def _result(item: Item, answer: Answer, reasons: Iterator[str]) -> ItemResult:
    written, reason = 0, answer.reason
    for output in answer.outputs:
        refused = next(reasons)
        written += bool(output.staged and not refused)
        reason = reason or refused
    return ItemResult(
        item=item,
        status="failed" if reason and answer.status != "skipped" else answer.status,
        reason=reason,
        written=written,
        warnings=answer.warnings,
        timings=answer.timings,
    )


def _tasks(items: Sequence[Item], prior_results: PriorResults) -> list[str]:
    """Return a ``Task`` for each input, as JSON text, with what earlier runs left of its outputs."""
    tasks, first = [], 0
    for item in items:
        last = first + len(item.settings)
        outputs = [output_name(item, setting) for setting in item.settings]
        records = [prior_results.journal.record(output) if prior_results.journal else None for output in outputs]
        states = tuple(prior_results.states[first:last])
        task = Task(
            replace(item, source=absolute(item.source), pictures=tuple(map(absolute, item.pictures))),
            states,
            tuple(records),
        )
        tasks.append(task.to_json())
        first = last
    return tasks
