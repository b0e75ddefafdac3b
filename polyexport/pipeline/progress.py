"""Progress of the inputs of a run: which of their outputs are still to be made, and what has become of the others."""

from dataclasses import dataclass, field

from polyexport.imaging.pixels import Pixels
from polyexport.imaging.traits import NO_TRAITS, Traits
from polyexport.model.canvas import Canvas
from polyexport.model.settings import Setting
from polyexport.pipeline.frame_collection import FrameCollection
from polyexport.pipeline.outputs.journal import Record
from polyexport.pipeline.plan import Item
from polyexport.pipeline.results import ItemResult, Status, Timings

__all__ = ["InputProgress", "OutputTask"]


@dataclass(slots=True)
class InputProgress:
    """Progress of one input, from its decoding to its result."""

    index: int
    """Position of the input in the plan."""

    item: Item
    first_output: int
    """Index in the plan of the input's first output."""

    recipes: list[str]
    """Recipe hash of each setting."""

    finished_records: list[Record | None]
    """For each setting, the record of an earlier run that makes the output unnecessary if the input is unchanged."""

    outputs_left: int
    """Number of outputs that have no result yet."""

    sha256: str = ""
    """SHA-256 of the input's bytes, lowercase hex; empty if the input could not be read."""

    reason: str = ""
    """Why the input failed: the first failure of any of its outputs."""

    written: int = 0
    """Number of outputs that this run wrote."""

    warnings: tuple[str, ...] = ()
    traits: Traits = NO_TRAITS
    """Traits of the input's file, to be put back into the outputs."""

    timings: Timings = field(default_factory=Timings)

    def finished_sha256(self) -> str:
        """Return the SHA-256 of the input for which no output has to be made, or an empty string if there is none."""
        inputs = {record.input_sha256 if record else "" for record in self.finished_records}
        return inputs.pop() if len(inputs) == 1 else ""

    def add_warnings(self, warnings: tuple[str, ...]) -> None:
        """Add the warnings of one output; those that another output had are there already."""
        if warnings:
            self.warnings = tuple(dict.fromkeys((*self.warnings, *warnings)))

    def finish_output(self, reason: str) -> bool:
        """Count one output as finished.

        Args:
            reason: why there is no output; empty if there is one.

        Returns:
            Whether it was the input's last output.
        """
        self.outputs_left -= 1
        self.reason = self.reason or reason
        return not self.outputs_left

    def result(self) -> ItemResult:
        """Return the result of an input whose outputs are all finished."""
        status: Status = "ok" if self.written else "skipped"
        return ItemResult(
            item=self.item,
            status="failed" if self.reason else status,
            reason=self.reason or ("done before" if status == "skipped" else ""),
            written=self.written,
            warnings=self.warnings,
            timings=self.timings,
        )


@dataclass(frozen=True, slots=True)
class OutputTask:
    """One decoded input, or one of its frames, of which one of its outputs is to be made."""

    progress: InputProgress
    canvas: Canvas
    pictures: tuple[Pixels, ...]
    """Second pictures on the same canvas."""

    number: int
    """Index of the output's setting among the item's settings."""

    collection: FrameCollection | None = None
    """Collection of the frames of the output; None for an input of one picture."""

    frame: int = 0
    """Index of the frame."""

    @property
    def setting(self) -> Setting:
        """The setting of the output."""
        return self.progress.item.settings[self.number]
