"""Encoding of the network's outputs as image files, staged in the output folder."""

import hashlib
import time
from dataclasses import dataclass

from polyexport.errors import reason_of
from polyexport.imaging.output_format import EncodedImage
from polyexport.imaging.pixels import Pixels
from polyexport.model.model import Model
from polyexport.pipeline.finishing import Finishing
from polyexport.pipeline.outputs.disk import OutputSink, UnpublishedOutput
from polyexport.pipeline.outputs.journal import Record
from polyexport.pipeline.outputs.prior_results import PriorResult, PriorResults
from polyexport.pipeline.plan import output_name
from polyexport.pipeline.progress import InputProgress, OutputTask

__all__ = ["EncodedOutput", "OutputEncoder"]


@dataclass(frozen=True, slots=True)
class EncodedOutput:
    """Outcome of encoding one output."""

    output: UnpublishedOutput | str
    """The staged output, or the reason why there is none."""

    encode_ms: float = 0.0
    write_ms: float = 0.0
    warnings: tuple[str, ...] = ()
    """One line for each thing that the file does not hold."""


class OutputEncoder:
    """Encodes and stages outputs. Safe to call from several threads."""

    def __init__(self, folder: OutputSink, prior_results: PriorResults, finishing: Finishing, model: Model) -> None:
        """Prepare for the outputs of one run.

        Args:
            folder: takes the encoded files.
            prior_results: what stands in the folder.
            finishing: how the results are finished.
            model: made the outputs.
        """
        self._folder = folder
        self._prior_results = prior_results
        self._finishing = finishing
        self._model = model

    def stage(self, made: list[tuple[OutputTask, Pixels]]) -> list[EncodedOutput]:
        """Encode outputs of the network, then write the files under temporary names.

        Raises:
            OutputError: the output folder cannot be written.
        """
        # First all of one kind of work, then all of the other: each is faster with what the one before left in the
        # processor's caches.
        encoded = [self._encode(task, output) for task, output in made]
        return [self._stage(task, image, ms) for (task, _), (image, ms) in zip(made, encoded, strict=True)]

    def _encode(self, task: OutputTask, pixels: Pixels) -> tuple[EncodedImage | str, float]:
        """Encode one output of the network, or those of all frames of an output, of which it is the last.

        Returns:
            The file, or the reason why there is none; and the milliseconds.
        """
        started = time.perf_counter()
        progress = task.progress
        traits, name = progress.traits, progress.item.name
        try:
            if task.collection is not None:
                image = self._finishing.encode_frames(
                    self._model, task.collection, task.setting, traits=traits, name=name
                )
            else:
                image = self._finishing.encode(self._model, task.canvas, pixels, task.setting, traits=traits, name=name)
        except Exception as error:  # noqa: BLE001 - memory is the usual cause
            return f"cannot be encoded ({reason_of(error)})", 0.0
        return image, 1e3 * (time.perf_counter() - started)

    def _stage(self, task: OutputTask, image: EncodedImage | str, encode_ms: float) -> EncodedOutput:
        if isinstance(image, str):
            return EncodedOutput(image)
        data = image.data
        started = time.perf_counter()
        sha256 = hashlib.sha256(data).hexdigest()
        output = self.unpublished(task.progress, task.number, self._folder.stage(data), sha256)
        return EncodedOutput(output, encode_ms, 1e3 * (time.perf_counter() - started), image.warnings)

    def unpublished(self, progress: InputProgress, number: int, staged: str, sha256: str) -> UnpublishedOutput:
        """Describe a staged output for its publication.

        Args:
            progress: its input.
            number: index of its setting among those of the input.
            staged: temporary name of its file.
            sha256: SHA-256 of its file, lowercase hex.
        """
        record = Record(progress.sha256, progress.recipes[number], sha256)
        replace = self._prior_results.states[progress.first_output + number] != PriorResult.MISSING
        return UnpublishedOutput(output_name(progress.item, progress.item.settings[number]), record, staged, replace)
