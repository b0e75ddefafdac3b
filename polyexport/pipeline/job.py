"""A job, from its plan to its report: prior results, the model, and the options for this machine."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from polyexport.imaging.pixels import MAX_PIXELS
from polyexport.model.canvas import CanvasRule, Size
from polyexport.model.model import Model
from polyexport.model.settings import Setting
from polyexport.model.tile_wish import AUTO_TILES, TileWish
from polyexport.pipeline.cancellation import NEVER, Cancellation
from polyexport.pipeline.decoding.pool import DecodingPool
from polyexport.pipeline.finishing import PLAIN, Finishing
from polyexport.pipeline.outputs.disk import OutputFolder
from polyexport.pipeline.outputs.prior_results import PriorResults, read_prior_results
from polyexport.pipeline.outputs.store import StoreFolder
from polyexport.pipeline.plan import Plan, mark_clashes
from polyexport.pipeline.results import ItemResult, RunReport
from polyexport.pipeline.run import run_plan
from polyexport.pipeline.run_options import MAX_BATCH_SIZE, RunOptions, options_for, threads_and_streams
from polyexport.runtime.cores import granted_cores

if TYPE_CHECKING:
    from polyexport.model.tile_difference import TileDifference

__all__ = ["Job", "LoadModel", "LoadedJob", "load_job", "report_tiles", "run_job"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """Inputs, outputs and settings of a run. For ``batch_size`` and ``threads``, 0 means that a value is chosen."""

    plan: Plan
    size: Size = "auto"
    tiles: TileWish = AUTO_TILES
    """Tiles that large images are cut into."""

    max_pixels: int = MAX_PIXELS
    """Largest width times height of an image that is accepted."""

    finishing: Finishing = PLAIN
    overwrite: bool = False
    """Whether every output is made again and any file with an output's name may be replaced."""

    retry_failed: bool = False
    """Whether inputs that failed in an earlier run are tried again."""

    batch_size: int = 0
    """Images per call of the network."""

    threads: int = 0
    """Threads per call of the network on a CPU."""

    def __post_init__(self) -> None:
        if not 0 <= self.batch_size <= MAX_BATCH_SIZE or self.threads < 0:
            raise ValueError(f"batch_size must be 0 to {MAX_BATCH_SIZE} and threads not negative, got {self}")


class LoadModel(Protocol):
    """Function that loads a model for a run."""

    def __call__(self, *, threads: int, streams: int, images: int) -> Model:
        """Load the model for ``streams`` concurrent calls of ``threads`` threads each, and for ``images`` in all."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedJob:
    """A job whose model is loaded, for one plan or several."""

    job: Job
    model: Model
    canvas_rule: CanvasRule
    options: RunOptions

    def run(
        self,
        plan: Plan,
        prior_results: PriorResults,
        *,
        folder: OutputFolder | StoreFolder,
        decoding_pool: DecodingPool,
        on_result: Callable[[ItemResult], None],
        unrecorded: Collection[str] = (),
        cancellation: Cancellation = NEVER,
    ) -> RunReport:
        """Make every output of a plan that earlier runs have not made; see ``run_plan``.

        Raises:
            OutputError: the output folder became unusable, or was moved or removed.
        """
        report = run_plan(
            plan,
            self.model,
            self.canvas_rule,
            self.options,
            folder=folder,
            prior_results=prior_results,
            decoding_pool=decoding_pool,
            finishing=self.job.finishing,
            on_result=on_result,
            unrecorded=unrecorded,
            cancellation=cancellation,
        )
        folder.check_place()
        return report


def load_job(
    job: Job,
    load: LoadModel,
    setting: Setting,
    *,
    outputs: int,
    images: int,
    on_provider: Callable[[str, str], None],
    on_tiles: Callable[["TileDifference"], None],
) -> LoadedJob:
    """Load the model of a job, and choose the options for this machine.

    Args:
        job: settings of the run.
        load: called once.
        setting: values of the conditions of the first output.
        outputs: number of outputs that the threads are chosen for.
        images: number of images that the provider is chosen for, 0 if unknown.
        on_provider: called with the execution provider and why no better one was taken.
        on_tiles: called if large images are cut into tiles that do not give the result of the whole image.

    Raises:
        UsageError: the network cannot take this size or has no such results.
        ColorError: a color that the model does not know.
        ModelError: a model that is refused.
        ProviderError: an execution provider that cannot be used.
    """
    threads, streams = threads_and_streams(outputs, threads=job.threads, cores=granted_cores())
    model = load(threads=threads, streams=streams, images=images)
    job.finishing.check(model.contract.result, model.conditions)
    canvas_rule = model.contract.canvas_rule(job.size, keep_original=job.finishing.as_alpha, tiles=job.tiles)
    on_provider(model.session.execution_provider, model.session.fallback_reason)
    report_tiles(model, canvas_rule, setting, on_tiles)
    options = options_for(model, canvas_rule, batch_size=job.batch_size, streams=streams)
    return LoadedJob(job=job, model=model, canvas_rule=canvas_rule, options=options)


def run_job(
    job: Job,
    load: LoadModel,
    *,
    folder: OutputFolder | StoreFolder,
    decoding_pool: DecodingPool,
    on_provider: Callable[[str, str], None] = lambda execution_provider, fallback_reason: None,
    on_tiles: Callable[["TileDifference"], None] = lambda difference: None,
    on_result: Callable[[ItemResult], None] = lambda result: None,
    cancellation: Cancellation = NEVER,
) -> RunReport:
    """Make every output of a plan that earlier runs have not made.

    Args:
        job: inputs, outputs and settings.
        load: called once, after the output folder has been compared with its journal.
        folder: the plan's output folder, locked.
        decoding_pool: processes that decode; they are closed only if the run ends with an error or is cancelled.
        on_provider: called before the first image, with the execution provider and why no better one was taken.
        on_tiles: called before the first image if large images are cut into tiles that do not give the result of the
            whole image, with the difference on a sample.
        on_result: called once per input, from the calling thread, in the order of the plan.
        cancellation: ends the run early.

    Raises:
        UsageError: outputs exist that no run made, or the network cannot take this size or has no such results.
        ColorError: a color that the model does not know.
        ModelError: a model that is refused.
        ProviderError: an execution provider that cannot be used.
        OutputError: the output folder became unusable, or was moved or removed.
    """
    plan = mark_clashes(job.plan, folder.spelling)
    prior_results = read_prior_results(
        plan, folder, folder.journal, overwrite=job.overwrite, retry_failed=job.retry_failed
    )
    # The number of all outputs, not of those that are left: a rerun must take the provider that the first run took.
    outputs = job.plan.outputs
    loaded = load_job(
        job,
        load,
        plan.settings[0],
        outputs=outputs,
        images=outputs,
        on_provider=on_provider,
        on_tiles=on_tiles,
    )
    return loaded.run(
        plan,
        prior_results,
        folder=folder,
        decoding_pool=decoding_pool,
        on_result=on_result,
        cancellation=cancellation,
    )


def report_tiles(
    model: Model, canvas_rule: CanvasRule, setting: Setting, on_tiles: Callable[["TileDifference"], None]
) -> None:
    """Measure what tiles cost that do not give the result of the whole image, and report it.

    Args:
        model: the model.
        canvas_rule: how this model places images on canvases, and cuts them.
        setting: values of the conditions of the first output.
        on_tiles: called with the difference, unless there is none.

    Raises:
        UsageError: the tiles are too large to be compared with whole images.
    """
    if canvas_rule.tiles is not None and not canvas_rule.tiles.exact:
        from polyexport.model.tile_difference import measure_tiles

        on_tiles(measure_tiles(model, canvas_rule, setting))
