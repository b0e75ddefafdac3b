"""A plan carried out by a Ray cluster: the same stages, journal and report as on one machine.

This process holds the output folder. It looks at what stands there, hands the inputs to Ray Data, and gives the
outputs, which the actors have staged in the folder, their names: journaled first, in groups, each once. Ray delivers at
least once; what it delivers again is dropped here, and what a lost actor has staged is removed with the other temporary
files when the folder is closed.
"""

import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polyexport
from polyexport.cluster.connection import connected, reachable
from polyexport.cluster.messages import Answer, Task, absolute
from polyexport.cluster.worker import Worker, WorkerOptions
from polyexport.errors import ExitCode, PolyexportError, ProviderError, UsageError, reason_of
from polyexport.model.file import default_model_path, read_model
from polyexport.model.model import Model
from polyexport.pipeline.job import Job
from polyexport.pipeline.outputs.disk import OutputFolder
from polyexport.pipeline.outputs.prior_results import Survey, survey
from polyexport.pipeline.outputs.store import StoreFolder
from polyexport.pipeline.plan import Item, output_name
from polyexport.pipeline.run import ItemResult, RunReport, recipes_of
from polyexport.runtime.provider import load_provider
from polyexport.runtime.providers import AUTO
from polyexport.runtime.session import SessionOptions

__all__ = ["Cluster", "run_on_cluster"]

_MAX_BLOCK = 256  # inputs that one call of an actor gets, and that are done again when the actor is lost
_BLOCKS_PER_ACTOR = 6
_CALLS = 2  # blocks at a time in an actor
_LOOK_S = 5.0  # between looks at the machines while no answer comes
_HOMELESS_S = 60.0
_MISSED = 2  # looks at the head in vain, after which it is given up
_CARRIES_ON = "the same command carries on"
_GROUP = 32  # inputs that share one sync of the journal
_GROUP_S = 0.25  # and for how long the first of them waits


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """Which machines, and for how long."""

    address: str | None = None
    """``HOST:PORT``, ``auto``, or None for this machine alone."""

    time_limit_s: float = 0.0
    """After which the run is given up; 0 for none."""

    provider: str = AUTO
    jobs: int = 0
    """Processes that decode, for each actor; 0 to choose."""

    def __post_init__(self) -> None:
        if not 0 <= self.time_limit_s < math.inf:
            raise ValueError(f"the time limit must be seconds, got {self.time_limit_s}")


def run_on_cluster(
    job: Job,
    cluster: Cluster,
    model: Path | None,
    *,
    folder: OutputFolder | StoreFolder,
    on_provider: Callable[[str, str], None] = lambda execution_provider, fallback_reason: None,
    on_result: Callable[[ItemResult], None] = lambda result: None,
) -> RunReport:
    """Colour everything in a plan that is not done yet.

    Args:
        job: what to do.
        cluster: where.
        model: a model file, which travels to the machines by itself; the shipped one if None.
        folder: the plan's output, open, on a file system that every machine of the cluster has at the same path.
        on_provider: called with each execution provider that an actor took, and why it took no better one.
        on_result: called once per input, from the calling thread, in the order of the plan.

    Raises:
        UsageError: outputs exist that no run made; a size that the network cannot take; an address that is none.
        ColorError: a colour that the model does not know.
        ModelError: a model that is refused.
        ProviderError: an execution provider that cannot be used on a machine of the cluster.
        OutputError: the output folder became unusable, or the cluster does not see it.
        PolyexportError: no cluster, a cluster that lost all its machines, or the time limit.
    """
    standing = survey(job.plan, folder, folder.journal, overwrite=job.overwrite, retry_failed=job.retry_failed)
    # This machine may have another processor than the cluster, so it takes the model to check the job alone.
    file = model if model is not None else default_model_path()
    data = read_model(file)
    checked = Model.from_bytes(data, SessionOptions(provider="cpu", threads=1), name=str(file))
    recipes_of(job.plan, checked, checked.contract.canvas_rule(job.size), job.background)
    options = WorkerOptions(
        output=folder.root.absolute() if isinstance(folder.root, Path) else folder.root,
        model=folder.stage(data),
        model_sha256=checked.sha256,
        model_name=str(file),
        provider=cluster.provider,
        size=job.size,
        background=job.background,
        retry_failed=job.retry_failed,
        batch_size=job.batch_size,
        threads=job.threads or 1,
        jobs=cluster.jobs or 1,
        images=job.plan.outputs,
        version=polyexport.__version__,
    )
    run = _Run(job, folder, standing, on_provider, on_result)
    started = time.monotonic()
    with connected(cluster.address, timeout_s=cluster.time_limit_s or math.inf) as ray:
        actors, resources = _actors(_machines(ray), cluster.provider, options.threads)
        answers = _Answers(ray, job, standing, options, actors, resources)
        deadline = started + cluster.time_limit_s if cluster.time_limit_s else math.inf
        while not run.complete:
            rows = answers.take(deadline)
            if rows is None:
                raise PolyexportError(
                    f"{run.reported} of {len(job.plan.items)} images were done after {cluster.time_limit_s:g} s, the "
                    "time limit",
                    remedy="the same command carries on; give it more time, or the cluster more machines",
                )
            for row in rows:
                run.take(row)
            run.settle()
    return run.report(time.monotonic() - started)


class _Run:
    """Names what the actors staged, and reports each input once."""

    def __init__(
        self,
        job: Job,
        folder: OutputFolder | StoreFolder,
        standing: Survey,
        on_provider: Callable[[str, str], None],
        on_result: Callable[[ItemResult], None],
    ) -> None:
        self._items = job.plan.items
        self._folder = folder
        self._on_provider = on_provider
        self._on_result = on_result
        self._providers: dict[tuple[str, str], None] = {}
        self._taken = bytearray(len(self._items))
        self._group: list[tuple[int, Answer]] = []
        self._group_since = math.inf
        self._results: dict[int, ItemResult] = {}  # that wait for the result of an earlier input
        self._counts = {"ok": 0, "failed": 0, "skipped": 0}
        self._written = 0
        self._waiting = len(self._items)
        self.reported = 0

    @property
    def complete(self) -> bool:
        return self.reported == len(self._items)

    def take(self, row: dict[str, Any]) -> None:
        """One row of a worker's."""
        if row["error"]:
            message, _, remedy = row["error"].partition("\0")
            error = PolyexportError(message, remedy=remedy)
            error.exit_code = ExitCode(row["exit_code"])
            raise error
        key = row["provider"], row["fallback"]
        if key not in self._providers:
            self._providers[key] = None
            self._on_provider(*key)
        index = row["index"]
        if self._taken[index]:
            return  # delivered twice
        self._taken[index] = 1
        self._waiting -= 1
        self._group.append((index, Answer.from_json(row["answer"])))
        self._group_since = min(self._group_since, time.monotonic())
        if not self._waiting or len(self._group) >= _GROUP:
            self._commit()

    def settle(self) -> None:
        """What has waited long enough is named, and told of."""
        if time.monotonic() - self._group_since > _GROUP_S:
            self._commit()

    def _commit(self) -> None:
        group, self._group = self._group, []
        self._group_since = math.inf
        reasons = iter(self._folder.commit([pending for _, answer in group for pending in answer.pending]))
        for index, answer in group:
            self._results[index] = _result(self._items[index], answer, reasons)
        while self.reported in self._results:
            result = self._results.pop(self.reported)
            self.reported += 1
            self._counts[result.status] += 1
            self._written += result.written
            self._on_result(result)

    def report(self, seconds: float) -> RunReport:
        providers = dict.fromkeys(provider for provider, _ in self._providers)
        return RunReport(
            **self._counts, written=self._written, seconds=seconds, execution_provider=", ".join(sorted(providers))
        )


def _result(item: Item, answer: Answer, reasons: Iterator[str]) -> ItemResult:
    written, reason = 0, answer.reason
    for pending in answer.pending:
        refused = next(reasons)
        written += bool(pending.staged and not refused)
        reason = reason or refused
    return ItemResult(
        item=item,
        status="failed" if reason and answer.status != "skipped" else answer.status,
        reason=reason,
        written=written,
        warnings=answer.warnings,
        timings=answer.timings,
    )


class _Answers:
    """What the actors give, read in a thread: this one keeps the time, and hears signals."""

    def __init__(
        self,
        ray: Any,
        job: Job,
        standing: Survey,
        options: WorkerOptions,
        actors: int,
        resources: Mapping[str, float],
    ) -> None:
        self._ray = ray
        self._resources = resources
        self._seen = time.monotonic()
        self._missed = 0
        items = job.plan.items
        block = min(_MAX_BLOCK, -(-len(items) // (actors * _BLOCKS_PER_ACTOR)))
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        # An actor with nothing more to do than its calls counts as busy: another one may take the place of a lost one.
        context.autoscaling_config.actor_pool_util_upscaling_threshold = 1.0
        answers = ray.data.from_items(_rows(items, standing), override_num_blocks=-(-len(items) // block)).map_batches(
            Worker,
            batch_size=None,  # a block as it is
            # A pool that may shrink: with a fixed size, one whose machine has left would wait for a place for ever.
            compute=ray.data.ActorPoolStrategy(
                min_size=1,
                max_size=actors,
                initial_size=actors,
                # One block is decoded and encoded while the network has another.
                max_tasks_in_flight_per_actor=_CALLS,
                max_concurrent_calls_per_actor=_CALLS,
                enable_true_multi_threading=True,
            ),
            fn_constructor_args=(options,),
            num_cpus=resources["CPU"],
            num_gpus=resources.get("GPU"),
        )
        self._queue: queue.Queue[list[dict[str, Any]] | Exception | None] = queue.Queue(maxsize=2 * actors)
        threading.Thread(target=self._read, args=(answers,), name="answers", daemon=True).start()

    def _read(self, answers: Any) -> None:
        try:
            for batch in answers.iter_batches(batch_size=None, batch_format="pyarrow"):
                self._queue.put(batch.to_pylist())
            self._queue.put(None)
        except Exception as error:  # noqa: BLE001 - whatever ends Ray Data ends the run, with one line
            self._queue.put(error)

    def take(self, deadline: float) -> list[dict[str, Any]] | None:
        """The next rows; None if there are none by then, in seconds of ``time.monotonic``.

        Raises:
            PolyexportError: Ray gave up, or the cluster has had no place for an actor for a while.
        """
        homeless_since = math.inf
        while (now := time.monotonic()) < deadline:
            self._look_for_head()
            try:
                rows = self._queue.get(timeout=min(_LOOK_S, deadline - now))
            except queue.Empty:
                self._look_for_head()  # whom the next question goes to
                homeless_since = math.inf if self._has_place() else min(homeless_since, now)
                if now - homeless_since > _HOMELESS_S:
                    raise PolyexportError(
                        f"for {_HOMELESS_S:g} s the cluster has had no machine with {_listed(self._resources)} free",
                        remedy="start machines; the same command carries on",
                    ) from None
                continue
            if rows is None or isinstance(rows, Exception):
                why = reason_of(rows) if rows else "it ended before every image was done"
                raise PolyexportError(f"Ray gave the run up ({why})", remedy=_CARRIES_ON) from rows
            return rows
        return None

    def _look_for_head(self) -> None:
        now = time.monotonic()
        if now - self._seen < _LOOK_S / 2:
            return
        self._seen = now
        self._missed = 0 if reachable(self._ray) else self._missed + 1
        if self._missed == _MISSED:
            raise PolyexportError("the head of the Ray cluster does not answer any more", remedy=_CARRIES_ON)

    def _has_place(self) -> bool:
        """Whether a machine of the cluster is large enough for an actor; Ray itself waits for one for ever."""
        if self._missed:  # it would be waited for
            return True
        machines = _machines(self._ray)
        return any(all(one.get(name, 0) >= wanted for name, wanted in self._resources.items()) for one in machines)


def _listed(resources: Mapping[str, float]) -> str:
    return " and ".join(f"{count:g} {name}" for name, count in sorted(resources.items()))


def _rows(items: Sequence[Item], standing: Survey) -> list[dict[str, Any]]:
    rows, first = [], 0
    for index, item in enumerate(items):
        last = first + len(item.colors)
        outputs = [output_name(item, color) for color in item.colors]
        records = [standing.journal.record(output) if standing.journal else None for output in outputs]
        task = Task(replace(item, source=absolute(item.source)), tuple(standing.standing[first:last]), tuple(records))
        rows.append({"index": index, "task": task.to_json()})
        first = last
    return rows


def _machines(ray: Any) -> list[dict[str, float]]:
    """What each machine of the cluster has."""
    return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def _actors(machines: Sequence[Mapping[str, float]], provider: str, threads: int) -> tuple[int, dict[str, float]]:
    """How many actors find a place, and what each takes of a machine."""
    on_gpus = sum(int(min(machine.get("GPU", 0), machine.get("CPU", 0))) for machine in machines)
    needs_gpu = provider != AUTO and load_provider(provider).reserves_gpu
    if needs_gpu and not on_gpus:
        raise ProviderError(
            f"the {provider} execution provider needs a GPU, and the cluster has none", remedy="leave --provider out"
        )
    if on_gpus and (needs_gpu or provider == AUTO):
        return on_gpus, {"GPU": 1.0, "CPU": 1.0}
    on_cpus = sum(int(machine.get("CPU", 0)) // threads for machine in machines)
    if not on_cpus:
        largest = max((int(machine.get("CPU", 0)) for machine in machines), default=0)
        raise UsageError(
            f"an actor of {threads} threads finds no place: the largest machine of the cluster has {largest} cores",
            remedy="give fewer --threads",
        )
    return on_cpus, {"CPU": float(threads)}
