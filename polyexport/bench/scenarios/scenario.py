"""The interface of a bench scenario, and the settings that all scenarios share.

Nothing here or in a scenario's file imports NumPy or ONNX Runtime before something is measured, so that ``--help`` is
quick.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, get_type_hints

if TYPE_CHECKING:
    from pathlib import Path

    from polyexport.bench.document import Row
    from polyexport.bench.measure import Block, Window
    from polyexport.model.loading.limits import LoadLimits
    from polyexport.pipeline.job import LoadModel

__all__ = ["BatchSizes", "Option", "Rate", "Scenario", "ScenarioOption", "Settings", "Subject"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Settings of a benchmark that hold for every scenario."""

    size: int = 0
    """Height and width of the images, pixels; 0 is the model's training size."""

    seconds: float = 2.0
    """Length of each of the three windows of a measurement, seconds."""

    target_ms: float = 50.0
    """Longest time per image that meets the target, milliseconds."""

    percentile: float = 50.0
    """Percentile of the time per image that is compared with ``target_ms``."""

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError(f"size must be 0 or positive, got {self.size}")
        if self.seconds <= 0 or self.target_ms <= 0:
            raise ValueError(f"seconds and target must be positive, got {self.seconds} and {self.target_ms}")
        if not 0 < self.percentile < 100:
            raise ValueError(f"percentile must be between 0 and 100, got {self.percentile}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """The model that is measured, and how it is loaded."""

    load: "LoadModel"
    path: "Path"
    provider: str
    device_id: int
    threads: int
    """Threads of each call on a CPU; 0 lets each scenario choose."""

    load_limits: "LoadLimits"
    """Limits of the first load of an unknown model file."""

    macs: int
    """Multiply-accumulates of one image in one color at the size of the run; 0 if unknown."""

    calibrate: Callable[[], float] | None
    """Milliseconds of one multiplication of ``polyexport.bench.limit.GFLOP``; None on devices."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """Command line option of a scenario, as the annotation of the field that holds its value."""

    flags: tuple[str, ...]
    """Spellings on the command line, such as ``("-b", "--batch-size")``."""

    help: str
    """One sentence for ``--help``."""

    minimum: float | None = None
    maximum: float | None = None
    metavar: str | None = None
    """Placeholder of the value in ``--help``; None for its type."""

    shown_default: str | None = None
    """Text that ``--help`` shows for the default; None for the default itself."""

    def check(self, name: str, value: object) -> None:
        """Refuse a value outside of the range; a tuple is refused if it is empty or one of its values is outside.

        Raises:
            ValueError: the value is refused; the message names the field and the range.
        """
        least = -math.inf if self.minimum is None else self.minimum
        most = math.inf if self.maximum is None else self.maximum
        if value == ():
            raise ValueError(f"{name} must be at least one number, got none")
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, int | float) and not least <= each <= most:
                raise ValueError(f"{name} must be from {least:g} to {most:g}, got {each:g}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ScenarioOption:
    """Option together with the field of a scenario that holds its value."""

    field: str
    """Name of the field."""

    kind: Any
    """Type of the field."""

    default: Any
    option: Option


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario(ABC):
    """One way to measure a model.

    A scenario is a frozen dataclass in a file of its own, and one row of ``polyexport.bench.scenarios.SCENARIOS``. Its
    fields are its options: each is ``Annotated`` with an ``Option``.
    """

    name: ClassVar[str]
    """Name on the command line, in reports and in tables."""

    description: ClassVar[str]
    """One sentence for ``--help``."""

    rule: ClassVar[str]
    """The exact work that is timed, for reports and documentation."""

    by_default: ClassVar[bool] = False
    """Whether ``polyexport bench`` measures it if no scenario is named."""

    times_images: ClassVar[bool] = True
    """Whether a sample is the time of images. Only then there are images/s, memory, charts and a comparison with the
    target."""

    in_process: ClassVar[bool] = True
    """Whether all of the work is done in this process, so that its CPU time counts."""

    counts_macs: ClassVar[bool] = False
    """Whether every image costs ``Subject.macs`` multiply-accumulates, so that there are GFLOP/s."""

    def __post_init__(self) -> None:
        for each in self.options():
            each.option.check(each.field, getattr(self, each.field))

    @classmethod
    def options(cls) -> Iterator[ScenarioOption]:
        """The options of the scenario, in the order of its fields."""
        hints = get_type_hints(cls, include_extras=True)
        for field in fields(cls):
            kind, option = hints[field.name].__origin__, hints[field.name].__metadata__[0]
            yield ScenarioOption(field=field.name, kind=kind, default=field.default, option=option)

    @property
    def images_per_call(self) -> int:
        """Largest number of images, or of colors of one image, that one call of the network gets."""
        return 1

    @abstractmethod
    def measure(self, subject: Subject, settings: Settings, progress: Callable[[str], None]) -> "list[Row]":
        """Measure, and return one row for each thing that was timed.

        Args:
            subject: the model.
            settings: the settings that all scenarios share.
            progress: called with a line before each measurement.

        Raises:
            PolyexportError: the model, the provider or the images cannot be used.
        """

    def images_per_s(self, window: "Window", images: int) -> float:
        """Throughput of a window of calls with ``images`` images each."""
        return images * len(window.samples_ms) / window.wall_s

    def image_times_ms(self, block: "Block", images: int) -> Sequence[float]:
        """Times of one image in a block of calls with ``images`` images each, milliseconds."""
        return [sample / images for sample in block.samples_ms]

    def image_ms(self, block: "Block", images: int) -> float:
        """Median of ``image_times_ms``."""
        from statistics import median

        return median(self.image_times_ms(block, images))


BatchSizes = Annotated[
    tuple[int, ...],
    Option(
        flags=("-b", "--batch-size"),
        help="Number of images in one call; repeat the option to measure several.",
        minimum=1,
        maximum=1024,
        shown_default="1 and 8",
    ),
]
"""Type of a field that holds batch sizes, which several scenarios have."""

Rate = Annotated[
    float,
    Option(
        flags=("--rate",),
        help="Requests per second. With 0, latency sends each request when the one before is answered, and capacity "
        "searches for the highest rate.",
        minimum=0,
        maximum=10_000,
    ),
]
"""Type of a field that holds a rate of requests, which several scenarios have."""
