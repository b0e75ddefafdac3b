"""Benchmark report as text for a terminal."""

from collections.abc import Iterator, Mapping, Sequence

from polyexport.bench.document import BenchReport, Row, Work
from polyexport.bench.statistics import STEADY, spread

__all__ = ["WORKS", "asked", "lines", "number", "outliers"]

WORKS: Mapping[Work, str] = {
    "call": "one image a call, from memory to memory, in turn",
    "throughput": "many images on all granted cores, from memory to memory, in turn",
    "files": "whole processes, from a folder of files to another, in turn",
}
"""Title of each kind of work that programs are compared in."""

_UNSTABLE = "UNSTABLE"
_SHOWN_LAYERS = 15


def number(value: float | None, form: str) -> str:
    """Format a figure, or a dash where there is none."""
    return "-" if value is None else format(value, form)


def outliers(row: Row) -> str:
    """Number of outliers of a row, and how many of them are far out; a dash where they were not counted."""
    found = row.outliers
    return "-" if found is None else f"{found.outside}{f' ({found.far} far)' if found.far else ''}"


def lines(report: BenchReport) -> Iterator[str]:
    """Lines of the report."""
    machine, model = report.environment, report.model
    work = f", {2 * model.macs / 1e9:.2f} GFLOP an image" if model.macs else ""
    yield f"{model.name} ({model.precision}) on {model.execution_provider}{work}"
    if model.fallback_reason:
        yield f"  {model.fallback_reason}"
    yield f"{machine.cores_granted} cores of {machine.cpu}, load {machine.load_1min:.2f}; {_versions(report)}"
    if report.limits:
        limits = ", ".join(f"{each.provider} {each.precision} {each.gflop_per_s:.0f}" for each in report.limits)
        yield f"matrices multiplied here, GFLOP/s: {limits}"
    measured = [row for row in report.rows if row.capacity is None]
    if measured:
        yield from _measured(measured)
    yield from _capacities(report)
    if report.machine is not None:
        yield from (f"  {line}" for line in report.machine.flags())
    yield from _compared(report)
    yield from _variants(report)
    yield from _profile(report)
    yield from _changes(report)
    yield from _verdict(report)


def _measured(measured: Sequence[Row]) -> Iterator[str]:
    yield ""
    yield (
        f"{'scenario':<11}{'':<23}{'calls':>6}{'p50 ms':>9}{'p90 ms':>9}{'p99 ms':>9}{'ms/image':>9}{'images/s':>9}"
        f"{'CPU ms':>8}{'GFLOP/s':>8}{'limit':>7}{'MiB':>6}{'outliers':>14}"
    )
    yield from (_row(row) for row in measured)
    yield from (f"  {row.scenario}, {row.name}: {row.note}" for row in measured if row.note)
    for row in measured:
        if not row.stable:
            p50s = [window.p50_ms for window in row.windows]
            rates = [window.images_per_s for window in row.windows]
            yield (
                f"  {row.scenario}, {row.name}: the p50s of the windows, {', '.join(f'{p50:.3f}' for p50 in p50s)} ms, "
                f"are {spread(p50s):.2f} times apart, and their images/s {spread(rates):.2f} times, where {STEADY:g} "
                "is the limit: something else ran, or the processor changed its pace"
            )


def _verdict(report: BenchReport) -> Iterator[str]:
    gate = report.gate
    word = {"met": "met", "missed": "MISSED", "undecided": "UNDECIDED"}[gate.verdict]
    yield ""
    reasons = f" ({'; '.join(gate.reasons)})" if gate.reasons else ""
    yield f"{asked(report)}: {word}{reasons}"


def asked(report: BenchReport) -> str:
    """Target that the gate of a report is about, in a few words."""
    gate = report.gate
    if all(row.capacity is not None for row in report.rows):
        return "a rate that holds the bound"
    return f"target of {gate.target_ms:g} ms per image at p{gate.percentile:g}"


def _capacities(report: BenchReport) -> Iterator[str]:
    for row in report.rows:
        found = row.capacity
        if found is None:
            continue
        yield ""
        yield (
            f"{f'{row.scenario}, {row.name}':<44}{'requests':>9}{'p50 ms':>9}{'p99 ms':>9}{'slow, %':>16}"
            f"{'answered/s':>12}"
        )
        for probe in sorted(found.probes, key=lambda probe: probe.rate_per_s):
            slow = f"{100 * probe.slow.low:.2f} to {100 * probe.slow.high:.2f}"
            faults = "".join(f", {count} {kind}" for kind, count in probe.errors.items())
            yield (
                f"{f'  {probe.rate_per_s:.1f} requests/s':<44}{probe.requests:>9}{number(probe.p50_ms, '.2f'):>9}"
                f"{number(probe.p99_ms, '.2f'):>9}{slow:>16}{probe.answered_per_s:>12.1f}  {probe.finding}"
                f"{', the queue grows' if probe.saturated else ''}{faults}"
            )
        yield f"  {found.reason}"


def _versions(report: BenchReport) -> str:
    return ", ".join(f"{name} {version}" for name, version in report.environment.runtimes())


def _row(row: Row) -> str:
    figures = row.call_ms
    if figures is None:
        return f"{row.scenario:<11}{row.name:<23}{_UNSTABLE:>15}"
    return (
        f"{row.scenario:<11}{row.name:<23}{figures.samples:>6}{figures.p50:>9.3f}{number(figures.p90, '.3f'):>9}"
        f"{number(figures.p99, '.3f'):>9}{number(row.image_ms, '.3f'):>9}{number(row.images_per_s, '.1f'):>9}"
        f"{number(row.cpu_ms_per_image, '.2f'):>8}{number(row.gflop_per_s, '.0f'):>8}"
        f"{number(row.limit_fraction, '.2f'):>7}{number(row.peak_rss_mib, '.0f'):>6}"
        f"{outliers(row):>14}"
    )


def _compared(report: BenchReport) -> Iterator[str]:
    for work, title in WORKS.items():
        group = [one for one in report.compared if one.work == work]
        if not group:
            continue
        yield ""
        yield title
        yield (
            f"{'':<18}{'ms/image':>9}{'CPU ms':>8}{'time over polyexport, 95 %':>28}{'mean diff':>11}{'max':>5}"
            f"{'GFLOP/s':>9}"
        )
        for one in group:
            if one.failure:
                yield f"{one.name:<18}{'FAILED':>9}  {one.failure}"
                continue
            time = _UNSTABLE if one.p50_ms is None else f"{one.p50_ms:.3f}"
            yield (
                f"{one.name:<18}{time:>9}{number(one.cpu_ms, '.2f'):>8}{one.ratio or '-'!s:>28}"
                f"{number(one.mean_difference, '.4f'):>11}{number(one.max_difference, 'd'):>5}"
                f"{number(one.gflop_per_s, '.0f'):>9}"
            )
        yield from (
            f"  {one.name}: {one.how}{', ' if one.versions else ''}{one.versions}" for one in group if not one.failure
        )


def _variants(report: BenchReport) -> Iterator[str]:
    if not report.variants:
        return
    yield ""
    yield f"{'variant':<24}{'precision':<10}{'provider':<10}{'ms/image':>9}{'PSNR dB':>9}"
    for one in report.variants:
        time = number(one.image_ms, ".3f") if one.image_ms or one.note else _UNSTABLE
        verdict = one.note or (f"dominated by {one.dominated_by}" if one.dominated_by else "on the frontier")
        yield (
            f"{one.model:<24}{one.precision:<10}{one.provider:<10}{time:>9}{number(one.psnr_db, '.2f'):>9}  {verdict}"
        )


def _profile(report: BenchReport) -> Iterator[str]:
    if report.profile is None:
        return
    profile = report.profile
    yield ""
    yield (
        f"{len(profile.layers)} layers on ONNX Runtime's CPU provider, {profile.layers_ms:.3f} ms; "
        f"the {_SHOWN_LAYERS} that take longest"
    )
    yield f"{'layer':<34}{'operator':<18}{'ms':>8}{'share':>7}{'GFLOP/s':>9}{'limit':>7}  output"
    limit = profile.limit_gflop_per_s
    for layer in sorted(profile.layers, key=lambda layer: -layer.ms)[:_SHOWN_LAYERS]:
        rate = layer.gflop_per_s
        yield (
            f"{layer.name[-33:]:<34}{layer.operator:<18}{layer.ms:>8.3f}{layer.ms / profile.layers_ms:>7.1%}"
            f"{number(rate, '.0f'):>9}{number(rate / limit if rate and limit else None, '.2f'):>7}  {layer.output}"
        )


def _changes(report: BenchReport) -> Iterator[str]:
    if not report.changes:
        return
    yield ""
    yield from (f"{report.baseline} differs in {each}" for each in report.baseline_differences)
    yield f"{'time over ' + report.baseline:<34}{'calibrated, 95 %':>26}{'in milliseconds, 95 %':>26}"
    for change in report.changes:
        verdict = "WORSE" if change.worse else ""
        yield (
            f"{change.scenario + ', ' + change.name:<34}{change.calibrated!s:>26}{change.raw!s:>26}  {verdict}"
        ).rstrip()
