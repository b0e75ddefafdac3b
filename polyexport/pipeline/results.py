"""Results of a run: what became of each input, and the totals."""

from dataclasses import dataclass, field
from typing import Literal

from polyexport.pipeline.plan import Item

__all__ = ["ItemResult", "RunReport", "Status", "Timings"]

Status = Literal["ok", "failed", "skipped"]
"""Final state of an input; ``skipped``: every output exists already, made from this input with the same recipe."""


@dataclass(slots=True)
class Timings:
    """Milliseconds that an input spent in each stage, summed over its outputs, without time spent waiting."""

    read_ms: float = 0.0
    decode_ms: float = 0.0
    infer_ms: float = 0.0
    """Share of the network's calls: the time of each batch divided by the number of its images."""

    encode_ms: float = 0.0
    write_ms: float = 0.0
    """Writing of the temporary files, without their syncing, which is done for many files at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemResult:
    """Result of one input."""

    item: Item
    status: Status
    reason: str = ""
    """Why the input failed or was skipped."""

    written: int = 0
    """Number of outputs that this run wrote."""

    warnings: tuple[str, ...] = ()
    timings: Timings = field(default_factory=Timings)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunReport:
    """Totals of a run."""

    ok: int
    failed: int
    skipped: int
    written: int
    """Number of output files that this run wrote."""

    seconds: float
    """Wall-clock seconds, for a watch with those that it waited."""

    execution_provider: str
    cancelled: bool = False
    """Whether the run was cancelled, so that inputs may be left; the totals count those that were reported."""

    @property
    def images(self) -> int:
        """Number of inputs."""
        return self.ok + self.failed + self.skipped

    @property
    def images_per_s(self) -> float:
        """Outputs written per second, from decoding to writing."""
        return self.written / self.seconds if self.seconds > 0 else 0.0
