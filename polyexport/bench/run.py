"""One run of ``polyexport bench``: what was asked for, measured, compared and judged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from polyexport.bench.calls import checked_size, inputs, latency, palette, throughput
from polyexport.bench.changes import changes
from polyexport.bench.compare import ContenderName, check_available, compare
from polyexport.bench.document import RULES, SCHEMA, BenchReport, Gate, Measured, Row, ScenarioName
from polyexport.bench.environment import environment
from polyexport.bench.frontier import frontier
from polyexport.bench.limit import Limit, measure_limits, multiplied_in, multiplier
from polyexport.bench.options import BenchOptions, Subject
from polyexport.bench.profile import count_macs, profile
from polyexport.bench.runs import cold_start, end_to_end
from polyexport.model.contract import IMAGE_INPUT
from polyexport.model.model import Model, load_model, read_model
from polyexport.runtime.cores import granted_cores
from polyexport.runtime.session import ProviderName

__all__ = ["Extras", "bench"]

_CALIBRATION_MS = 8.0

_RUN: dict[ScenarioName, Callable[[Subject, BenchOptions, Callable[[str], None]], list[Row]]] = {
    "latency": latency,
    "throughput": throughput,
    "end-to-end": end_to_end,
    "palette": palette,
    "cold-start": cold_start,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Extras:
    """What to do beside the scenarios."""

    compare: tuple[ContenderName, ...] = ()
    checkpoint: Path | None = None
    """What the model was exported from, for the contenders that are PyTorch."""

    frontier: tuple[Path, ...] = ()
    """Model files."""

    profile: bool = False
    baseline: BenchReport | None = None
    baseline_name: str = ""
    tolerance: float = 0.05

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < 10:
            raise ValueError(f"tolerance must be from 0 to 10, got {self.tolerance}")


def bench(
    path: Path,
    options: BenchOptions,
    extras: Extras,
    *,
    provider: ProviderName = "auto",
    device_id: int = 0,
    threads: int = 0,
    report: Callable[[str], None] = lambda line: None,
) -> BenchReport:
    """Measure.

    Args:
        path: model file.
        options: scenarios.
        extras: comparison, frontier, profile, baseline.
        provider: where the model runs.
        device_id: which GPU.
        threads: of a call on a CPU; 0 for each scenario's own choice.
        report: takes lines of progress.

    Raises:
        PolyexportError: what the model, the provider and the files can refuse.
    """

    def load(*, threads: int, streams: int, images: int) -> Model:
        return load_model(path, provider=provider, threads=threads, streams=streams, images=images, device_id=device_id)

    check_available(extras.compare, extras.checkpoint)
    machine = environment()  # first, for the load that it records
    model = load(threads=threads or granted_cores(), streams=1, images=0)
    size = checked_size(model, options)
    image, color = inputs(model, size)
    feeds = {IMAGE_INPUT: image, model.conditioner.name: color}
    macs = count_macs(read_model(path), feeds)
    report("measuring the limit of this machine")
    limits = measure_limits(provider)
    where = multiplied_in(model.session, model.contract.precision)
    subject = Subject(
        load=load,
        path=path,
        provider=provider,
        device_id=device_id,
        threads=threads,
        macs=macs,
        calibrate=_calibration(multiplier(*where)) if where else None,
    )
    rows = [row for name in options.scenarios for row in _RUN[name](subject, options, report)]
    compared = (
        compare(model, path, extras.compare, checkpoint=extras.checkpoint, macs=macs, options=options, report=report)
        if extras.compare
        else ()
    )
    return BenchReport(
        schema=SCHEMA,
        environment=machine,
        model=Measured(
            name=path.name,
            sha256=model.sha256,
            precision=model.contract.precision,
            execution_provider=model.session.execution_provider,
            fallback_reason=model.session.fallback_reason,
            placement=model.session.placement(),
            macs=macs,
            multiplied=" ".join(where) if where else "",
        ),
        limits=limits,
        rules={name: RULES[name] for name in options.scenarios},
        rows=tuple(rows),
        gate=judge(rows, options),
        compared=compared,
        variants=frontier(extras.frontier, size=options.size, seconds=options.seconds, report=report)
        if extras.frontier
        else (),
        profile=profile(read_model(path), feeds, limit_gflop_per_s=_on_cpu(limits, model), threads=threads)
        if extras.profile
        else None,
        changes=changes(rows, extras.baseline, tolerance=extras.tolerance) if extras.baseline else (),
        baseline=extras.baseline_name,
    )


def judge(rows: Sequence[Row], options: BenchOptions) -> Gate:
    """Hold every measurement but those of ``cold-start`` against the target.

    A figure that cannot be believed meets no target, and so does a percentile that there are too few samples for.
    """
    reasons = []
    for row in rows:
        if row.scenario == "cold-start":
            continue
        named = f"{row.scenario}, {row.name}"
        if not row.stable:
            reasons.append(f"{named}: UNSTABLE")
        elif row.note.startswith("SATURATED"):
            reasons.append(f"{named}: {row.note}")
        elif row.target_ms is None:
            reasons.append(f"{named}: too few samples for p{options.percentile:g}")
        elif row.target_ms > options.target_ms:
            reasons.append(f"{named}: p{options.percentile:g} is {row.target_ms:.3f} ms")
    return Gate(target_ms=options.target_ms, percentile=options.percentile, met=not reasons, reasons=tuple(reasons))


def _on_cpu(limits: Sequence[Limit], model: Model) -> float:
    precision = "int8" if model.contract.precision == "int8" else "float32"
    return next(limit.gflop_per_s for limit in limits if (limit.provider, limit.precision) == ("cpu", precision))


def _calibration(multiply: Callable[[], float]) -> Callable[[], float]:
    """The median of as many multiplications as take some milliseconds together."""

    def calibrate() -> float:
        samples = [multiply()]
        while sum(samples) < _CALIBRATION_MS:
            samples.append(multiply())
        return median(samples)

    return calibrate
