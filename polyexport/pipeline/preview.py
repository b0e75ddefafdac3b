"""Preview of a run: what it would do to each output. Nothing is written, and no image is decoded."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, repeat
from time import perf_counter
from typing import Literal

import numpy as np

from polyexport.model.model import Model
from polyexport.pipeline.decoding.pool import DecodingPool
from polyexport.pipeline.decoding.process import Decoded
from polyexport.pipeline.job import Job
from polyexport.pipeline.outputs.prior_results import PriorResult, PriorResults, read_prior_results
from polyexport.pipeline.outputs.store import open_view, view_spelling
from polyexport.pipeline.plan import Item, Plan, mark_clashes, output_name
from polyexport.pipeline.recipes import recipes_of
from polyexport.pipeline.run_options import threads_and_streams
from polyexport.runtime.cores import granted_cores

__all__ = ["ItemPreview", "Preview", "preview"]

_ESTIMATE_S = 0.5  # time that the estimate spends on calls of the network
_INPUTS_AHEAD = 64  # inputs whose headers are read at a time

State = Literal["make", "replace", "done", "failed before", "unreadable", "clashing"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemPreview:
    """Preview of one input."""

    item: Item
    outputs: tuple[tuple[str, State], ...]
    """Name of each output in the output folder, and what would happen to it."""

    reason: str = ""
    """Why the input is unreadable, cannot have its outputs' names, or failed in an earlier run."""


@dataclass(slots=True)
class Preview:
    """Totals of a preview, complete when the last input has been looked at."""

    images: int = 0
    unreadable: int = 0
    outputs: dict[State, int] = field(default_factory=dict)
    estimated_s: float = 0.0
    """Estimated wall-clock seconds of the run, from a few calls of the network."""


def preview(job: Job, model: Model, decoding_pool: DecodingPool, counts: Preview) -> Iterator[ItemPreview]:
    """Look at every input and output of a job, and yield the preview of each input.

    Args:
        job: inputs, outputs and settings.
        model: the model of the run, for the recipes and the estimate.
        decoding_pool: processes that read the headers of the inputs.
        counts: totals, which are updated with each input.

    Raises:
        UsageError: outputs exist that no run made, or the network cannot take this size.
        ColorError: a color that the model does not know.
        OutputError: the output folder cannot be read.
    """
    job.finishing.check(model.contract.result, model.conditions)
    canvas_rule = model.contract.canvas_rule(job.size, keep_original=job.finishing.as_alpha, tiles=job.tiles)
    plan = mark_clashes(job.plan, partial(view_spelling, job.plan.output))
    recipes = recipes_of(plan, model, canvas_rule, job.finishing)
    with _read_prior_results(job, plan) as prior_results:
        first = 0
        with ThreadPoolExecutor(decoding_pool.jobs) as pool:
            items = iter(plan.items)
            # A bounded number at a time: a map over all of them would hold every answer.
            while some := list(islice(items, _INPUTS_AHEAD)):
                sources, pictures = [item.source for item in some], [item.pictures for item in some]
                headers = pool.map(decoding_pool.inspect, sources, pictures, repeat(plan.pictures))
                for item, seen in zip(some, headers, strict=True):
                    one = _look(item, seen, prior_results, first, [recipes[setting] for setting in item.settings])
                    first += len(item.settings)
                    _count(counts, one)
                    yield one
    counts.estimated_s = _estimate(job, model, counts.outputs.get("make", 0) + counts.outputs.get("replace", 0))


@contextmanager
def _read_prior_results(job: Job, plan: Plan) -> Iterator[PriorResults]:
    with ExitStack() as stack:
        view, journal = open_view(plan.output)
        for one in (view, journal):
            if one is not None:
                stack.callback(one.close)
        yield read_prior_results(plan, view, journal, overwrite=job.overwrite, retry_failed=job.retry_failed)


def _look(item: Item, seen: Decoded, prior_results: PriorResults, first: int, recipes: list[str]) -> ItemPreview:
    outputs: list[tuple[str, State]] = []
    reason = seen.reason
    for number, record in enumerate(prior_results.finished_records(item, first, recipes)):
        state: State = "make" if prior_results.states[first + number] == PriorResult.MISSING else "replace"
        if item.clash:
            state, reason = "clashing", item.clash
        elif record is not None and record.input_sha256 == seen.sha256:
            state, reason = ("failed before", record.failed) if record.failed else ("done", reason)
        elif seen.reason:
            state = "unreadable"
        outputs.append((output_name(item, item.settings[number]), state))
    return ItemPreview(item=item, outputs=tuple(outputs), reason=reason)


def _count(counts: Preview, one: ItemPreview) -> None:
    counts.images += 1
    counts.unreadable += any(state == "unreadable" for _, state in one.outputs)
    for _, state in one.outputs:
        counts.outputs[state] = counts.outputs.get(state, 0) + 1


def _estimate(job: Job, model: Model, outputs: int) -> float:
    """Estimate the seconds of a run from the calls of the network, which take nearly all of it, at its own size."""
    if not outputs:
        return 0.0
    canvas_rule = model.contract.canvas_rule(job.size)
    if canvas_rule.mode == "native":
        canvas_rule = model.contract.canvas_rule("fit")
    canvas, *pictures = (
        rule.place(np.full((rule.size, rule.width or rule.size, rule.channels), 255, np.uint8))
        for rule in (canvas_rule, *model.picture_rules(canvas_rule).values())
    )
    seconds = [[picture.pixels for picture in pictures]]
    setting = job.plan.settings[0]
    model.run_canvases([canvas], [setting], seconds)  # the first call allocates
    started, calls = perf_counter(), 0
    while perf_counter() - started < _ESTIMATE_S:
        model.run_canvases([canvas], [setting], seconds)
        calls += 1
    _, streams = threads_and_streams(outputs, threads=job.threads, cores=granted_cores())
    return outputs * (perf_counter() - started) / calls / streams
