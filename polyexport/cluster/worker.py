"""Actor of a Ray cluster: one session, and the stages of ``polyexport.pipeline`` for one block of inputs at a time."""

import hashlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from polyexport.cluster.messages import Answer, BlockAnswer, Task
from polyexport.errors import OutputError, PolyexportError
from polyexport.model.canvas import Size
from polyexport.model.model import Model
from polyexport.model.tile_wish import TileWish
from polyexport.pipeline.decoding.pool import DecodingPool
from polyexport.pipeline.finishing import Finishing
from polyexport.pipeline.outputs.disk import UnpublishedOutput
from polyexport.pipeline.outputs.journal import Record
from polyexport.pipeline.outputs.prior_results import PriorResults
from polyexport.pipeline.outputs.staging import Staging, unusable
from polyexport.pipeline.outputs.store import open_staging
from polyexport.pipeline.plan import Plan, output_name
from polyexport.pipeline.results import ItemResult
from polyexport.pipeline.run import run_plan
from polyexport.pipeline.run_options import options_for
from polyexport.runtime.session import SessionOptions
from polyexport.storage.stores import Url

__all__ = ["Worker", "WorkerOptions"]


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerOptions:
    """Settings that an actor needs for its part of a job."""

    output: Path | Url
    model: str
    """Temporary name of the model file in the output folder's staging: an actor that can read it sees that folder."""

    model_sha256: str
    """SHA-256 of the model file, lowercase hex."""

    model_name: str
    """Name of the model file in messages."""

    provider: str
    size: Size
    tiles: TileWish
    finishing: Finishing
    pictures: tuple[str, ...] = ()
    """Names of the conditions that are second pictures, in the model's order."""

    retry_failed: bool
    batch_size: int
    threads: int
    """Threads per call of the network on a CPU."""

    jobs: int
    """Decoding processes of this actor."""

    images: int
    """Number of outputs of the whole plan, by which the provider ``auto`` chooses."""

    version: str
    """Version of polyexport on the machine that made the plan; every machine needs the same."""


class Worker:
    """One actor. An error that ends the whole run is not raised, but answered to every block, with its exit code."""

    def __init__(self, options: WorkerOptions) -> None:
        """Load the model and start the decoding processes.

        Args:
            options: settings of the actor.
        """
        self._options = options
        self._error: PolyexportError | None = None
        try:
            self._open()
        except PolyexportError as error:
            self._error = error

    def _open(self) -> None:
        import polyexport

        options = self._options
        if polyexport.__version__ != options.version:
            raise PolyexportError(
                f"the cluster has polyexport {polyexport.__version__}, this machine {options.version}",
                remedy="install the same version on every machine",
            )
        self._staging = open_staging(options.output)
        model = _shared_model(self._staging, options)
        session = SessionOptions(provider=options.provider, threads=options.threads, images=options.images, cache=True)
        self._model = Model.from_bytes(model, session, name=options.model_name)
        self._canvas_rule = self._model.contract.canvas_rule(
            options.size, keep_original=options.finishing.as_alpha, tiles=options.tiles
        )
        self._run_options = options_for(self._model, self._canvas_rule, batch_size=options.batch_size, streams=1)
        self._decoding_pool = DecodingPool(jobs=options.jobs)
        self._decoding_pool.start()

    def started(self) -> None:
        """Return once the actor has started: Ray answers calls after the constructor."""

    def answer(self, tasks: Sequence[str]) -> str:
        """Make the outputs of a block of inputs.

        Args:
            tasks: a ``Task`` for each input, as JSON text.

        Returns:
            A ``BlockAnswer`` as JSON text.
        """
        if self._error is None:
            try:
                return self._answer([Task.from_json(text) for text in tasks]).to_json()
            except PolyexportError as error:
                self._error = error
        message, where = self._error.message, socket.gethostname()
        return BlockAnswer(
            error=f"{message} (on {where})", remedy=self._error.remedy, exit_code=int(self._error.exit_code)
        ).to_json()

    def _answer(self, tasks: Sequence[Task]) -> BlockAnswer:
        plan = Plan(
            items=tuple(task.item for task in tasks), output=self._options.output, pictures=self._options.pictures
        )
        prior_results = PriorResults(
            states=bytearray(one for task in tasks for one in task.prior_results),
            journal=_Records({output: record for task in tasks for output, record in task.recorded().items()}),
            retry_failed=self._options.retry_failed,
        )
        folder = _StagingSink(self._staging, self._options.output)
        results: list[ItemResult] = []
        run_plan(
            plan,
            self._model,
            self._canvas_rule,
            self._run_options,
            folder=folder,
            prior_results=prior_results,
            decoding_pool=self._decoding_pool,
            finishing=self._options.finishing,
            on_result=results.append,
        )
        answers = tuple(Answer.of(result, folder.of(result)) for result in results)
        session = self._model.session
        return BlockAnswer(answers, session.execution_provider, session.fallback_reason)


@dataclass(frozen=True, slots=True)
class _Records:
    """Journal records of the outputs of one block."""

    by_output: dict[str, Record]

    def record(self, output: str) -> Record | None:
        return self.by_output.get(output)


class _StagingSink:
    """Stages outputs, and keeps the list of them for the process that holds the output folder and publishes them."""

    def __init__(self, staging: Staging, root: Path | Url) -> None:
        self.concurrency = staging.concurrency
        self._root = root
        self.stage = staging.stage
        self._sync = staging.sync
        self._unpublished: dict[str, UnpublishedOutput] = {}

    def publish(self, outputs: Sequence[UnpublishedOutput]) -> list[str]:
        try:
            self._sync([one.staged for one in outputs])
        except OSError as error:
            raise unusable(self._root, error) from error
        self._unpublished.update((one.output, one) for one in outputs)
        return [""] * len(outputs)

    def of(self, result: ItemResult) -> tuple[UnpublishedOutput, ...]:
        outputs = (output_name(result.item, setting) for setting in result.item.settings)
        return tuple(self._unpublished[output] for output in outputs if output in self._unpublished)


def _shared_model(staging: Staging, options: WorkerOptions) -> bytes:
    try:
        model = staging.read(options.model)
        if hashlib.sha256(model).hexdigest() == options.model_sha256:
            return model
        reason = "it holds another model there"
    except OSError as error:
        reason = error.strerror or str(error)
    raise OutputError(
        f"the output folder {options.output} is not the same on every machine of the cluster ({reason})",
        remedy="choose another -o, on a file system that they share",
    )
