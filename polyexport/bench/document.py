"""Benchmark report as one versioned JSON document, which later runs are compared with."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

from polyexport import __version__
from polyexport.bench.capacity import Capacity
from polyexport.bench.environment import Environment
from polyexport.bench.limit import Limit
from polyexport.bench.machine import Machine
from polyexport.bench.order_statistics import Outliers, PercentileInterval
from polyexport.bench.profile import Profile
from polyexport.bench.statistics import Figures, Interval
from polyexport.bench.upgrade import OLDEST, upgraded
from polyexport.errors import UsageError, reason_of
from polyexport.storage.files import read_limited
from polyexport.storage.strict_json import read_json
from polyexport.storage.typed_json import build

__all__ = [
    "SCHEMA",
    "BenchReport",
    "Change",
    "Compared",
    "Measured",
    "Row",
    "TargetGate",
    "Variant",
    "Verdict",
    "WindowFigures",
    "Work",
    "read_report",
]

SCHEMA = 2
"""Version of the document. ``report.schema.json`` describes it, and ``polyexport.bench.upgrade`` reads older ones."""

Verdict = Literal["met", "missed", "undecided"]
"""Answer to a target; ``undecided`` is one that the samples or the machine do not allow."""

Work = Literal["call", "throughput", "files"]
"""Kind of work that programs are compared in."""

_MAX_REPORT_BYTES = 64 * 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowFigures:
    """Figures of one of the three windows of a measurement."""

    samples: int
    """Number of calls."""

    p50_ms: float
    """Median time of a call, milliseconds."""

    images_per_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One measurement; its figures are None if the windows do not agree."""

    scenario: str
    name: str
    size: int
    """Height and width of the images, pixels; 0 for files of any size."""

    images: int
    """Number of images in a call, times their colors."""

    callers: int
    """Number of calls that run at a time."""

    threads: int
    """Threads of each call; 0 if the scenario does not set them."""

    stable: bool
    windows: tuple[WindowFigures, ...]
    call_ms: Figures | None
    image_ms: float | None
    """Median time of one image, milliseconds; calls that run side by side count by the wall time of their blocks."""

    images_per_s: float | None
    cpu_ms_per_image: float | None
    """CPU time of this process, milliseconds; None if other processes share the work."""

    gflop_per_s: float | None
    limit_fraction: float | None
    """Fraction of the rate at which the same runtime multiplies matrices, measured between the calls."""

    peak_rss_mib: float | None
    note: str
    target_ms: float | None
    """Percentile that is compared with the target, milliseconds per image; None without enough samples for it."""

    target_interval: PercentileInterval | None
    """Confidence interval of that percentile; None if the windows do not agree, or for an older report."""

    target_slower: float | None
    """Fraction of the images that took longer than the target."""

    outliers: Outliers | None
    """Number of outliers among the times of images; None if the windows do not agree, or for an older report."""

    capacity: Capacity | None
    """Highest rate of requests that holds a bound, for the scenario ``capacity``; None for every other."""

    block_ms: tuple[float, ...]
    """Time of one image in each block of calls, milliseconds, as in ``image_ms``."""

    calibration_ms: tuple[float, ...]
    """Time of the multiplication before each block, milliseconds; 0 where there is none."""

    @property
    def key(self) -> tuple[str, str, int]:
        """Scenario, name and size, which identify the same measurement in another report."""
        return (self.scenario, self.name, self.size)


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """Figures of polyexport or another program on the same work; those of one kind of work were taken in turn."""

    name: str
    how: str
    versions: str
    work: Work
    """``call``: one image a call, memory to memory. ``throughput``: many images in memory to as many in memory, over
    all granted cores. ``files``: a whole process from a folder of image files to another."""

    images: int
    """Number of images in a block of the work."""

    p50_ms: float | None
    """Median time of one image, milliseconds; None if the windows do not agree, or after a failure."""

    cpu_ms: float | None
    """CPU time of one image, milliseconds, of a whole process and of all that it starts; None for other work."""

    ratio: Interval | None
    """Ratio of its time to polyexport's, in pairs: above 1, polyexport is faster. None for polyexport itself and after
    a failure."""

    mean_difference: float | None
    """Mean absolute difference from the reference, levels of 255; None if there is nothing to compare."""

    max_difference: int | None
    gflop_per_s: float | None
    block_ms: tuple[float, ...]
    """Time of one image in each block, milliseconds, in the order in which the blocks were taken."""

    failure: str
    """Reason why it has no figures, and what to do; empty if it did the work."""

    @classmethod
    def without_figures(cls, name: str, how: str, *, work: Work, images: int, failure: str) -> Self:
        """Describe a program that could not be compared."""
        return cls(
            name=name,
            how=how,
            versions="",
            work=work,
            images=images,
            p50_ms=None,
            cpu_ms=None,
            ratio=None,
            mean_difference=None,
            max_difference=None,
            gflop_per_s=None,
            block_ms=(),
            failure=failure,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """Fidelity and speed of one model on one provider."""

    model: str
    precision: str
    provider: str
    psnr_db: float | None
    image_ms: float | None
    """Median time of an image, milliseconds; None if the windows do not agree or the model cannot be loaded."""

    dominated_by: str
    """Name of a variant that is at least as good and as fast, and better in one; empty on the frontier."""

    note: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetGate:
    """Comparison of the measurements with the target of --target-ms."""

    target_ms: float
    percentile: float
    verdict: Verdict
    """``missed`` if one measurement misses the target for sure, else ``undecided`` if one does not decide."""

    reasons: tuple[str, ...]
    """Reason of each measurement that misses the target or does not decide, and what to do then."""

    @property
    def met(self) -> bool:
        """Whether every measurement meets the target for sure."""
        return self.verdict == "met"


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """Change of a measurement since an older report."""

    scenario: str
    name: str
    raw: Interval
    """Ratio of the new time to the old one."""

    calibrated: Interval
    """Ratio of the times in units of the multiplications beside them, which cancels the speed of the machine."""

    worse: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """Description of the model that was measured, and of its provider."""

    name: str
    sha256: str
    precision: str
    execution_provider: str
    fallback_reason: str
    placement: dict[str, dict[str, int]]
    """Number of nodes by execution provider and operator."""

    macs: int
    """Multiply-accumulates of one image in one color, at the size of the run."""

    multiplied: str
    """Runtime and precision of the matrix multiplications that fractions refer to; empty without a limit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchReport:
    """Report of one run of ``polyexport bench``."""

    schema: int
    measured_at: str
    """Time of the run, ISO 8601 in UTC; empty if it is not known."""

    environment: Environment
    machine: Machine | None
    """Conditions of the machine over the run; None for an older report."""

    model: Measured
    limits: tuple[Limit, ...]
    rules: dict[str, str]
    rows: tuple[Row, ...]
    gate: TargetGate
    compared: tuple[Compared, ...]
    variants: tuple[Variant, ...]
    profile: Profile | None
    changes: tuple[Change, ...]
    baseline: str
    """File name of the older report; empty without one."""

    baseline_differences: tuple[str, ...]
    """Differences of machine, versions and model between this run and the older report that can change a time."""

    def to_json(self) -> str:
        """Write the report as JSON; equal reports give equal text."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @property
    def stable(self) -> bool:
        """Whether the windows of every measurement agree."""
        return all(row.stable for row in self.rows)

    @property
    def failures(self) -> tuple[str, ...]:
        """Name and reason of every program that could not be compared."""
        return tuple(f"{one.name}: {one.failure}" for one in self.compared if one.failure)


def read_report(path: Path) -> BenchReport:
    """Read a report of this or an earlier version from a file, which is not trusted.

    Raises:
        UsageError: the file cannot be read, is not a whole bench report, or has a version that cannot be read exactly.
    """
    remedy = "give a file that `polyexport bench --output` wrote"
    try:
        value: Any = read_json(read_limited(path, _MAX_REPORT_BYTES))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror})", remedy=remedy) from error
    except ValueError as error:
        raise UsageError(f"{path} is not JSON, or is cut short ({reason_of(error)})", remedy=remedy) from error
    version = value.get("schema") if isinstance(value, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise UsageError(f"{path} is not a bench report: it has no number as its schema", remedy=remedy)
    if not OLDEST <= version <= SCHEMA:
        raise UsageError(
            f"{path} has schema {str(version)[:20]}, expected {OLDEST} to {SCHEMA}",
            remedy=f"measure again, or read it with the version that wrote it; this is polyexport {__version__}",
        )
    try:
        return build(BenchReport, upgraded(value, SCHEMA))
    except ValueError as error:
        raise UsageError(f"{path} is not a bench report: {error}", remedy=remedy) from error
