"""One run of ``polyexport bench``: measure, compare, judge, and gather everything in one report."""

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from polyexport.bench.changes import changes, differences
from polyexport.bench.compare import NO_COMPARISON, Comparison, check_comparison, compare
from polyexport.bench.document import SCHEMA, BenchReport, Measured
from polyexport.bench.environment import environment
from polyexport.bench.frontier import frontier
from polyexport.bench.gate import judge
from polyexport.bench.inputs import checked_size, inputs
from polyexport.bench.limit import Limit, measure_limits, multiplied_in, multiplier
from polyexport.bench.machine import MachineWatch
from polyexport.bench.profile import count_macs, profile
from polyexport.bench.scenarios.scenario import Scenario, Settings, Subject
from polyexport.model.contract import IMAGE_INPUT
from polyexport.model.file import read_model
from polyexport.model.loading.limits import DEFAULT_LIMITS, LoadLimits
from polyexport.model.loading.load import load_model
from polyexport.model.model import Model
from polyexport.runtime.cores import granted_cores

__all__ = ["Extras", "bench"]

_LEAST_CALIBRATION_MS = 8.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Extras:
    """Work of a benchmark beside the scenarios."""

    compare: Comparison = NO_COMPARISON
    """Other programs that do the same work."""

    frontier: tuple[Path, ...] = ()
    """Model files that are compared in fidelity and speed."""

    profile: bool = False
    """Whether to time every layer on ONNX Runtime's CPU provider."""

    baseline: BenchReport | None = None
    """Older report to compare with."""

    baseline_name: str = ""
    """File name of the older report."""

    tolerance: float = 0.05
    """Relative slowdown against the baseline that still passes; 0.05 is 5 %."""

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < 10:
            raise ValueError(f"tolerance must be from 0 to 10, got {self.tolerance}")


def bench(
    path: Path,
    scenarios: Sequence[Scenario],
    settings: Settings,
    extras: Extras,
    *,
    provider: str = "auto",
    device_id: int = 0,
    threads: int = 0,
    load_limits: LoadLimits = DEFAULT_LIMITS,
    progress: Callable[[str], None] = lambda line: None,
) -> BenchReport:
    """Measure a model, and compare and judge what was measured.

    Args:
        path: model file.
        scenarios: what is measured, one or more.
        settings: settings that all scenarios share.
        extras: comparison, frontier, profile and baseline.
        provider: execution provider of the model.
        device_id: number of the GPU.
        threads: threads of a call on a CPU; 0 lets each scenario choose.
        load_limits: limits of the first load of an unknown model file.
        progress: called with a line before each measurement.

    Raises:
        PolyexportError: the model, the provider or a file cannot be used.
    """

    def load(*, threads: int, streams: int, images: int) -> Model:
        return load_model(
            path,
            provider=provider,
            threads=threads,
            streams=streams,
            images=images,
            device_id=device_id,
            limits=load_limits,
        )

    if not scenarios:
        raise ValueError("scenarios must be at least one, got none")
    check_comparison(extras.compare, settings.size)
    begun = datetime.datetime.now(datetime.UTC)
    place = environment()  # first, for the load that it records
    model = load(threads=threads or granted_cores(), streams=1, images=0)
    size = checked_size(model, settings.size, max(scenario.images_per_call for scenario in scenarios))
    names = [IMAGE_INPUT, *(condition.name for condition in model.conditions)]
    feeds = dict(zip(names, inputs(model, size), strict=True))
    macs = count_macs(read_model(path), feeds)
    where = multiplied_in(model.session, model.contract.precision)
    measured = Measured(
        name=path.name,
        sha256=model.sha256,
        precision=model.contract.precision,
        execution_provider=model.session.execution_provider,
        fallback_reason=model.session.fallback_reason,
        placement=model.session.placement(),
        macs=macs,
        multiplied=" ".join(where) if where else "",
    )
    apart = differences(place, measured, extras.baseline) if extras.baseline else ()
    for line in apart:
        progress(f"{extras.baseline_name} differs in {line}")
    progress("measuring the limit of this machine")
    limits = measure_limits(provider)
    subject = Subject(
        load=load,
        path=path,
        provider=provider,
        device_id=device_id,
        threads=threads,
        load_limits=load_limits,
        macs=macs,
        calibrate=_calibration(multiplier(*where)) if where else None,
    )
    watch = MachineWatch()
    rows = [row for scenario in scenarios for row in scenario.measure(subject, settings, progress)]
    machine = watch.finish()
    compared = compare(subject, model, extras.compare, settings, progress)
    return BenchReport(
        schema=SCHEMA,
        measured_at=begun.isoformat(timespec="seconds"),
        environment=place,
        machine=machine,
        model=measured,
        limits=limits,
        rules={scenario.name: scenario.rule for scenario in scenarios},
        rows=tuple(rows),
        gate=judge(rows, settings, machine),
        compared=compared,
        variants=frontier(
            extras.frontier, size=settings.size, seconds=settings.seconds, limits=load_limits, progress=progress
        )
        if extras.frontier
        else (),
        profile=profile(read_model(path), feeds, limit_gflop_per_s=_cpu_limit(limits, model), threads=threads)
        if extras.profile
        else None,
        changes=changes(rows, extras.baseline, tolerance=extras.tolerance) if extras.baseline else (),
        baseline=extras.baseline_name,
        baseline_differences=apart,
    )


def _cpu_limit(limits: Sequence[Limit], model: Model) -> float:
    precision = "int8" if model.contract.precision == "int8" else "float32"
    return next(limit.gflop_per_s for limit in limits if (limit.provider, limit.precision) == ("cpu", precision))


def _calibration(multiply: Callable[[], float]) -> Callable[[], float]:
    """Make a function that returns the median milliseconds of several multiplications in a row."""

    def calibrate() -> float:
        samples = [multiply()]
        while sum(samples) < _LEAST_CALIBRATION_MS:
            samples.append(multiply())
        return median(samples)

    return calibrate
