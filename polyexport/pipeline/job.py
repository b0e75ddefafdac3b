"""One run from its plan to its report: the output folder, the decoders, the model, and how they share the machine."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from polyexport.model.canvas import CanvasRule, Size
from polyexport.model.model import Model
from polyexport.pipeline.decoding.pool import Decoders
from polyexport.pipeline.outputs.disk import OutputFolder
from polyexport.pipeline.outputs.prior_results import survey
from polyexport.pipeline.outputs.store import StoreFolder
from polyexport.pipeline.plan import Plan
from polyexport.pipeline.run import MAX_BATCH_SIZE, Background, ItemResult, RunOptions, RunReport, arrange, run_plan
from polyexport.runtime.cores import granted_cores
from polyexport.runtime.session import Session

__all__ = ["Job", "LoadModel", "options_for", "run_job"]

_PIXELS_PER_CALL = 16 * 256**2


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What to do, and what of the machine to use for it. 0 stands for a choice of ours."""

    plan: Plan
    size: Size = "fit"
    background: Background = "white"
    overwrite: bool = False
    """Do everything anew, and replace whatever stands at an output's name."""

    retry_failed: bool = False
    """Try again what failed in an earlier run."""

    batch_size: int = 0
    """Images per call of the network."""

    threads: int = 0
    """Of each call on the CPU."""

    def __post_init__(self) -> None:
        if not 0 <= self.batch_size <= MAX_BATCH_SIZE or self.threads < 0:
            raise ValueError(f"batch_size must be 0 to {MAX_BATCH_SIZE} and threads not negative, got {self}")


class LoadModel(Protocol):
    """Loads the model for calls of ``threads`` threads each, ``streams`` at a time, and so many images in all."""

    def __call__(self, *, threads: int, streams: int, images: int) -> Model: ...


def run_job(
    job: Job,
    load: LoadModel,
    *,
    folder: OutputFolder | StoreFolder,
    decoders: Decoders,
    on_provider: Callable[[str, str], None] = lambda execution_provider, fallback_reason: None,
    on_result: Callable[[ItemResult], None] = lambda result: None,
) -> RunReport:
    """Colour everything in a plan that is not done yet.

    Args:
        job: what to do.
        load: called once, after the output folder has been looked at.
        folder: the plan's output, open.
        decoders: processes; they are closed only if the run ends with an error.
        on_provider: called before the first image: the execution provider, and why it is no better one.
        on_result: called once per input, from the calling thread, in the order of the plan.

    Raises:
        UsageError: outputs exist that no run made; a size that the network cannot take.
        ColorError: a colour that the model does not know.
        ModelError: a model that is refused.
        ProviderError: an execution provider that cannot be used.
        OutputError: the output folder became unusable.
    """
    threads, streams = arrange(job.plan.outputs, threads=job.threads, cores=granted_cores())
    standing = survey(job.plan, folder, folder.journal, overwrite=job.overwrite, retry_failed=job.retry_failed)
    # All of the plan, not what is left of it: a rerun must take the provider that the first run took.
    model = load(threads=threads, streams=streams, images=job.plan.outputs)
    canvas_rule = model.contract.canvas_rule(job.size)
    on_provider(model.session.execution_provider, model.session.fallback_reason)
    options = options_for(model, canvas_rule, batch_size=job.batch_size, streams=streams)
    return run_plan(
        job.plan,
        model,
        canvas_rule,
        options,
        folder=folder,
        survey=standing,
        decoders=decoders,
        background=job.background,
        on_result=on_result,
    )


def options_for(model: Model, canvas_rule: CanvasRule, *, batch_size: int, streams: int) -> RunOptions:
    """How a loaded model is best called.

    Args:
        model: loaded for ``streams`` calls at a time.
        canvas_rule: of this model.
        batch_size: what the user wants; 0 to choose.
        streams: calls at a time on a CPU.
    """
    session = model.session
    return RunOptions(
        batch_size=batch_size or _images_per_call(session, canvas_rule),
        # On a device one batch is copied while the other is computed.
        streams=(1 if session.stable_shapes else streams) + session.computes_elsewhere,
    )


def _images_per_call(session: Session, canvas_rule: CanvasRule) -> int:
    if canvas_rule.mode == "native":  # of any size; on a device, what is too much for it is tried again in halves
        return session.images_per_call if session.stable_shapes else 1
    return max(1, min(session.images_per_call, _PIXELS_PER_CALL // canvas_rule.size**2))
