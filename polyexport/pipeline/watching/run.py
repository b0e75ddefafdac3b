"""A run that watches a folder: first over what is there, then over what appears, until it is cancelled.

Files that are complete are taken in batches, each a plan of its own with the model, the decoding processes, the output
folder and its journal of the whole watch. The system tells of changes (``changes``); what it does not tell is found by
listing the folder now and then.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

from polyexport.pipeline.cancellation import Cancellation, Switch
from polyexport.pipeline.decoding.pool import MAX_JOBS, DecodingPool
from polyexport.pipeline.decoding.process import Input
from polyexport.pipeline.events import (
    ImageFinished,
    NotificationsFailed,
    OnEvent,
    ProviderChosen,
    RunFinished,
    RunStarted,
    TilesDiffer,
    WatchWaiting,
    ignore_event,
)
from polyexport.pipeline.job import Job, LoadedJob, LoadModel, load_job
from polyexport.pipeline.outputs.disk import OutputFolder
from polyexport.pipeline.outputs.prior_results import PriorResult, PriorResults, read_prior_results
from polyexport.pipeline.plan import Item, Plan, mark_clashes, output_name, target_suffix
from polyexport.pipeline.results import ItemResult, RunReport
from polyexport.pipeline.watching.arrivals import Arrival, Arrivals
from polyexport.pipeline.watching.changes import FolderChanges, check_watchfiles
from polyexport.pipeline.watching.sticky_names import StickyNames
from polyexport.pipeline.watching.watched_folder import FolderHandle, WatchedFolder
from polyexport.runtime.cores import granted_cores

__all__ = ["run_watch"]

_IMAGES_PER_BATCH = 512
_TICK_S = 0.25  # longest time until the watch sees that it is cancelled or that its folder is gone
_SECOND_LISTING_S = 1.0  # by then the system tells of changes, and what came before is found
_LISTING_S = 10.0
_LISTING_UNTOLD_S = 1.0  # where the system does not tell of changes
_LISTING_SHARE = 0.02  # of the time may go into listing, which took 1.2 s of processor time for 100,000 files


def run_watch(
    job: Job,
    watched: WatchedFolder,
    load: LoadModel,
    *,
    jobs: int = 0,
    on_event: OnEvent = ignore_event,
    cancel: Switch | None = None,
) -> RunReport:
    """Make the outputs of everything in a folder, and of everything that appears in it or changes, until cancelled.

    A file is taken when it is complete; see ``arrivals``. One that changes later is taken again, and replaces its
    output. One that is removed before it is read is passed over; its outputs stay if it had any.

    Args:
        job: settings of the run; its plan has no input.
        watched: the folder, and what is made of its files.
        load: called once, after the output folder has been compared with the files that are there.
        jobs: number of decoding processes; 0 for one for each core.
        on_event: told of each event, from the calling thread.
        cancel: ends the watch when it is set; None for one that only an exception ends, such as KeyboardInterrupt.

    Returns:
        The totals, in which a file counts as often as it was taken.

    Raises:
        UsageError: outputs of files that are there exist and no run made them, or a folder cannot be listed.
        PolyexportError: the watched folder was removed, moved or replaced, or the package watchfiles is missing.
        OutputError: the output folder cannot be written, is locked by another run, or became unusable.
        ModelError, ProviderError, ColorError: see ``run_job``.
    """
    check_watchfiles()
    with (
        FolderHandle(watched.path) as handle,
        OutputFolder(watched.output) as folder,
        DecodingPool(jobs=jobs or min(granted_cores(), MAX_JOBS), max_pixels=job.max_pixels) as decoding_pool,
        FolderChanges(watched.real, recursive=watched.recursive) as changes,
    ):
        decoding_pool.start()
        watch = _Watch(job, watched, handle, folder, decoding_pool, changes, on_event, Cancellation(cancel))
        report = watch.execute(load)
    on_event(RunFinished(report=report))
    return report


class _Watch:
    def __init__(
        self,
        job: Job,
        watched: WatchedFolder,
        handle: FolderHandle,
        folder: OutputFolder,
        decoding_pool: DecodingPool,
        changes: FolderChanges,
        on_event: OnEvent,
        cancellation: Cancellation,
    ) -> None:
        self._job = job
        self._watched = watched
        self._handle = handle
        self._folder = folder
        self._decoding_pool = decoding_pool
        self._changes = changes
        self._on_event = on_event
        self._cancellation = cancellation
        folder.journal.follows = True
        self._pictures = watched.pairing.pictures("")
        self._arrivals = Arrivals(watched.source)
        self._spelling = folder.spelling()
        self._names = StickyNames(
            watched.settings,
            folder.journal,
            self._spelling,
            self._input_sha256,
            target_suffix(job.finishing.output.format),
        )
        self._next_listing = 0.0
        self._notified = True
        self._counts = {"ok": 0, "failed": 0, "skipped": 0}
        self._written = 0
        self._started = time.perf_counter()

    def execute(self, load: LoadModel) -> RunReport:
        inputs = self._list(passes_over=False)
        self._next_listing = time.monotonic() + _SECOND_LISTING_S
        self._names.assign(inputs)
        plan = self._plan(inputs)
        self._refuse_foreign(plan)
        self._on_event(RunStarted(inputs=len(plan.items), outputs=plan.outputs, output=plan.output))
        # Nobody knows how many files will come, so that threads and provider are chosen as for very many.
        loaded = load_job(
            self._job,
            load,
            self._watched.settings[0],
            outputs=sys.maxsize,
            images=0,
            on_provider=lambda execution_provider, fallback_reason: self._on_event(
                ProviderChosen(execution_provider=execution_provider, fallback_reason=fallback_reason)
            ),
            on_tiles=lambda difference: self._on_event(TilesDiffer(difference=difference)),
        )
        idle = False
        while not self._cancellation.requested:
            self._handle.check()
            self._look()
            arrivals = self._arrivals.take(_IMAGES_PER_BATCH, time.monotonic(), self._names.release)
            if arrivals:
                self._run(loaded, arrivals)
                idle = False
                continue
            if not idle and not self._arrivals.waiting:
                self._on_event(WatchWaiting(folder=Path(self._watched.path)))
                idle = True
            due = min(self._arrivals.next_due, self._next_listing) - time.monotonic()
            self._changes.wait(max(0.0, min(_TICK_S, due)))
        return RunReport(
            **self._counts,
            written=self._written,
            seconds=time.perf_counter() - self._started,
            execution_provider=loaded.model.session.execution_provider,
            cancelled=True,
        )

    def _look(self) -> None:
        """Notice the files that have changed."""
        now = time.monotonic()
        for path in self._changes.take():
            relative = self._watched.relative(path)
            if relative is None:
                continue
            if self._watched.takes(relative):
                self._notice(relative, now)
            elif self._watched.is_folder(relative):
                self._next_listing = min(self._next_listing, now)  # it may have come with files in it
        if self._changes.failure and self._notified:
            self._notified = False
            self._on_event(NotificationsFailed(reason=self._changes.failure))
        if now >= self._next_listing:
            self._list(passes_over=True)

    def _list(self, *, passes_over: bool) -> list[str]:
        """List the folder, and notice every file. Returns the relative paths of the files."""
        now, started = time.monotonic(), time.thread_time()
        listed = [
            relative
            for relative in self._watched.files(passes_over=passes_over)
            if self._arrivals.notice(relative, now)
        ]
        for relative in self._arrivals.missing_from(frozenset(listed)):
            self._notice(relative, now)
        took = time.thread_time() - started
        interval = _LISTING_S if self._notified else _LISTING_UNTOLD_S
        self._next_listing = now + max(interval, took / _LISTING_SHARE)
        return listed

    def _notice(self, relative: str, now: float) -> None:
        if not self._arrivals.notice(relative, now):
            self._names.release(relative)

    def _plan(self, relatives: list[str]) -> Plan:
        """Make the plan of files that have names."""
        items: list[Item] = []
        for relative in relatives:
            name, clash = self._names.name(relative)
            items.append(Item(self._watched.source(relative), name, self._watched.settings, clash, self._pictures))
        plan = replace(self._job.plan, items=tuple(sorted(items, key=lambda item: item.name)))
        return mark_clashes(plan, lambda: self._spelling)

    def _refuse_foreign(self, plan: Plan) -> None:
        """Refuse to begin where files that no run made have the names of outputs, as every run does."""
        journal = self._folder.journal
        unrecorded = [
            item
            for item in plan.items
            if any(journal.record(output_name(item, setting)) is None for setting in item.settings)
        ]
        self._read_prior_results(replace(plan, items=tuple(unrecorded)), refuse_foreign=True)

    def _read_prior_results(self, plan: Plan, *, refuse_foreign: bool) -> PriorResults:
        return read_prior_results(
            plan,
            self._folder,
            self._folder.journal,
            overwrite=self._job.overwrite,
            retry_failed=self._job.retry_failed,
            refuse_foreign=refuse_foreign,
        )

    def _run(self, loaded: LoadedJob, arrivals: list[Arrival]) -> None:
        """Make the outputs of files that seem complete."""
        self._names.assign([arrival.relative for arrival in arrivals])
        by_source = {self._watched.source(arrival.relative): arrival for arrival in arrivals}
        plan = self._plan([arrival.relative for arrival in arrivals])
        prior_results = self._read_prior_results(plan, refuse_foreign=False)
        if not self._job.overwrite:
            plan = _with_foreign(plan, prior_results)
        held: set[str] = set()

        def finished(result: ItemResult) -> None:
            source = result.item.source
            if result.status == "failed" and not result.item.clash and not self._arrivals.is_final(by_source[source]):
                held.add(source)  # a slow writer may not be done, or it has been removed
                return
            self._counts[result.status] += 1
            self._written += result.written
            self._on_event(ImageFinished(result=result))

        loaded.run(
            plan,
            prior_results,
            folder=self._folder,
            decoding_pool=self._decoding_pool,
            on_result=finished,
            unrecorded={source for source, arrival in by_source.items() if not arrival.final},
            cancellation=self._cancellation,
        )
        now = time.monotonic()
        for source, arrival in by_source.items():
            if source in held:
                self._arrivals.hold(arrival)
            else:
                self._arrivals.finish(arrival)
                self._notice(arrival.relative, now)  # it may have changed after it was looked at, or be gone

    def _input_sha256(self, relative: str) -> str:
        return Input(self._watched.source(relative), pictures=self._pictures).sha256()


def _with_foreign(plan: Plan, prior_results: PriorResults) -> Plan:
    """Mark the inputs of which an output would replace a file that no run made, so that they fail alone."""
    items: list[Item] = []
    first = 0
    for item in plan.items:
        for number, setting in enumerate(item.settings, first):
            if prior_results.states[number] == PriorResult.FOREIGN and not item.clash:
                output = plan.output / output_name(item, setting)
                reason = f"{output} exists already and was not made by a run into this folder, or was changed since"
                item = replace(item, clash=f"{reason}; remove it, or start again with --overwrite")  # noqa: PLW2901
        first += len(item.settings)
        items.append(item)
    return replace(plan, items=tuple(items))
