"""What to measure, and on what."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from polyexport.bench.document import ScenarioName
from polyexport.bench.statistics import WINDOWS
from polyexport.pipeline.job import LoadModel
from polyexport.runtime.session import ProviderName

__all__ = ["SCENARIOS", "BenchOptions", "Subject"]

SCENARIOS: tuple[ScenarioName, ...] = ("latency", "throughput", "end-to-end", "palette", "cold-start")


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchOptions:
    """What to time, and for how long."""

    scenarios: tuple[ScenarioName, ...] = ("latency", "throughput")
    batch_sizes: tuple[int, ...] = (1, 8)
    """Of ``throughput``."""

    size: int = 0
    """Height and width, pixels; 0 is the model's training size."""

    seconds: float = 2.0
    """Of each of the three windows of a measurement."""

    rate: float = 0.0
    """Requests a second for ``latency``; 0 for one after the other."""

    colors: int = 8
    """Of ``palette``."""

    images: Path | None = None
    """Folder for ``end-to-end``; None for generated drawings."""

    processes: int = 21
    """Of ``cold-start``."""

    target_ms: float = 50.0
    """Per image; what is above it misses the target."""

    percentile: float = 50.0
    """That the target is held against."""

    def __post_init__(self) -> None:
        if not self.scenarios or not set(self.scenarios) <= set(SCENARIOS):
            raise ValueError(f"scenarios must be of {', '.join(SCENARIOS)}, got {', '.join(self.scenarios) or 'none'}")
        if not self.batch_sizes or min(self.batch_sizes) < 1 or self.size < 0 or self.colors < 1:
            raise ValueError(f"batch sizes and colors must be positive, got {self.batch_sizes} and {self.colors}")
        if self.seconds <= 0 or self.target_ms <= 0 or not 0 < self.percentile < 100:
            raise ValueError("seconds and target must be positive, and the percentile between 0 and 100")
        if not 0 <= self.rate <= 10_000:
            raise ValueError(f"rate must be from 0 to 10000 requests a second, got {self.rate}")
        if self.processes < WINDOWS:
            raise ValueError(f"processes must be {WINDOWS} at least, got {self.processes}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """The model that is measured, and what is known of it."""

    load: LoadModel
    path: Path
    provider: ProviderName
    device_id: int
    threads: int
    """Of each call, on a CPU; 0 for each scenario's own choice."""

    macs: int
    """Of one image in one colour at the size of the run; 0 if unknown."""

    calibrate: Callable[[], float] | None
    """Milliseconds of one multiplication, ``GFLOP``; None on devices."""
