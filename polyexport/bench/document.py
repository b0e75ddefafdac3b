"""A benchmark as one versioned JSON document, which later runs are compared with."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from polyexport.bench.environment import Environment
from polyexport.bench.limit import Limit
from polyexport.bench.profile import Profile
from polyexport.bench.statistics import Figures, Interval
from polyexport.errors import UsageError
from polyexport.storage.files import read_limited
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
    "WindowFigures",
    "read_report",
]

SCHEMA = 1

_MAX_BYTES = 64 * 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowFigures:
    """A third of a measurement."""

    samples: int
    p50_ms: float
    """Of a call."""

    images_per_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One measurement. Its figures are None where the windows do not agree."""

    scenario: str
    name: str
    size: int
    """Height and width, pixels; 0 for files of any size."""

    images: int
    """Of a call, times their colours."""

    callers: int
    threads: int
    """Of each call; 0 where it is not a thread of ours that computes."""

    stable: bool
    windows: tuple[WindowFigures, ...]
    call_ms: Figures | None
    image_ms: float | None
    """Median of the calls over their images; of ``throughput``, of the blocks' wall time over theirs."""

    images_per_s: float | None
    cpu_ms_per_image: float | None
    """Of this process; None where others share the work."""

    gflop_per_s: float | None
    limit_fraction: float | None
    """Of the rate at which the same runtime multiplies matrices, in the blocks between the calls."""

    peak_rss_mib: float | None
    note: str
    target_ms: float | None
    """The percentile that the gate looks at, per image; None without enough samples for it."""

    block_ms: tuple[float, ...]
    """For an image, of each block of calls: their median, or for ``throughput`` the wall time."""

    calibration_ms: tuple[float, ...]
    """Of the multiplication before each block; 0 where there is none."""

    @property
    def key(self) -> tuple[str, str, int]:
        """What is the same measurement in another run."""
        return (self.scenario, self.name, self.size)


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """Another way to do the same work."""

    name: str
    how: str
    versions: str
    p50_ms: float | None
    """Of a call; None where the windows do not agree."""

    ratio: Interval | None
    """Its time over polyexport's, in pairs: above 1, polyexport is the faster one. None for polyexport."""

    mean_difference: float
    """From the reference, levels of 255."""

    max_difference: int
    gflop_per_s: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """A model on a provider."""

    model: str
    precision: str
    provider: str
    psnr_db: float | None
    image_ms: float | None
    """None where the windows do not agree, or where it cannot be loaded."""

    dominated_by: str
    """A variant that is at least as good and at least as fast, and better in one; empty on the frontier."""

    note: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetGate:
    """Whether a target is met."""

    target_ms: float
    percentile: float
    met: bool
    reasons: tuple[str, ...]
    """Why not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A measurement beside that of an older report."""

    scenario: str
    name: str
    raw: Interval
    """New time over old."""

    calibrated: Interval
    """The same, in units of the multiplication beside it: what changed the machine's pace falls out."""

    worse: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What was measured: a model on a provider."""

    name: str
    sha256: str
    precision: str
    execution_provider: str
    fallback_reason: str
    placement: dict[str, dict[str, int]]
    """Execution provider -> operator -> nodes."""

    macs: int
    """Multiply-accumulates of one image in one colour, at the size of the run."""

    multiplied: str
    """Runtime and precision of the limit that fractions refer to; empty without one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchReport:
    """Everything that one run of ``polyexport bench`` found."""

    schema: int
    environment: Environment
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
    """Name of the older report; empty without one."""

    def to_json(self) -> str:
        """The document. The same report gives the same text."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @property
    def stable(self) -> bool:
        """Whether every figure can be believed."""
        return all(row.stable for row in self.rows)


def read_report(path: Path) -> BenchReport:
    """A document from a file; it may be anybody's.

    Raises:
        UsageError: unreadable, no report, or of another version.
    """
    remedy = "give a file that `polyexport bench --output` wrote"
    try:
        value: Any = json.loads(read_limited(path, _MAX_BYTES))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror})", remedy=remedy) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no JSON", remedy=remedy) from error
    version = value.get("schema") if isinstance(value, dict) else None
    if version != SCHEMA:
        raise UsageError(f"{path} has schema {str(version)[:20]!r}, expected {SCHEMA}", remedy=remedy)
    try:
        return build(BenchReport, value)
    except ValueError as error:
        raise UsageError(f"{path} is no report: {error}", remedy=remedy) from error
