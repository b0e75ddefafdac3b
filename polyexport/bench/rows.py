"""From windows to a row of the report, with figures only where the windows agree."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from polyexport.bench.document import Row, ScenarioName, WindowFigures
from polyexport.bench.limit import GFLOP
from polyexport.bench.measure import Window, peak_rss_mib
from polyexport.bench.options import BenchOptions, Subject
from polyexport.bench.statistics import is_steady, percentile, summarize

__all__ = ["make_row", "noted"]


def make_row(
    scenario: ScenarioName,
    name: str,
    windows: Sequence[Window],
    subject: Subject,
    options: BenchOptions,
    *,
    size: int,
    images: int = 1,
    callers: int = 1,
    threads: int = 0,
    own: bool = True,
) -> Row:
    """Judge the windows and sum them up.

    Args:
        scenario: that they belong to.
        name: within the scenario.
        windows: at least two.
        subject: what was measured.
        options: for the percentile of the gate.
        size: of the images; 0 for any.
        images: of a call, times their colours.
        callers: calls at a time.
        threads: of each.
        own: whether the work was all done in this process, so that its time and memory say something.
    """
    p50s = [median(window.samples_ms) for window in windows]
    rates = [images * len(window.samples_ms) / window.wall_s for window in windows]
    if scenario == "end-to-end":  # a sample is a whole run, in milliseconds per image
        rates = [1e3 / p50 for p50 in p50s]
    stable = is_steady(p50s) and is_steady(rates)
    samples = [sample for window in windows for sample in window.samples_ms]
    blocks = [block for window in windows for block in window.blocks]
    # Callers wait for each other: what they make of the machine together is what an image costs.
    if scenario == "throughput":
        block_ms = [1e3 * block.wall_s / (images * len(block.samples_ms)) for block in blocks]
        image_samples = block_ms
    else:
        block_ms = [block.p50_ms / images for block in blocks]
        image_samples = [sample / images for sample in samples]
    calibration_ms = [block.calibration_ms for block in blocks]
    gflop_per_s = 2 * subject.macs * sum(rates) / len(rates) / 1e9 if own and scenario in _ONE_COLOR else 0.0
    limit = GFLOP / median(calibration_ms) * 1e3 if all(calibration_ms) else 0.0
    count = images * len(samples)
    return Row(
        scenario=scenario,
        name=name,
        size=size,
        images=images,
        callers=callers,
        threads=threads,
        stable=stable,
        windows=tuple(
            WindowFigures(samples=len(window.samples_ms), p50_ms=p50, images_per_s=rate)
            for window, p50, rate in zip(windows, p50s, rates, strict=True)
        ),
        call_ms=summarize(samples) if stable else None,
        image_ms=median(image_samples) if stable else None,
        images_per_s=sum(rates) / len(rates) if stable and scenario != "cold-start" else None,
        cpu_ms_per_image=1e3 * sum(window.cpu_s for window in windows) / count if stable and own else None,
        gflop_per_s=gflop_per_s if stable and gflop_per_s else None,
        limit_fraction=gflop_per_s / limit if stable and gflop_per_s and limit else None,
        peak_rss_mib=peak_rss_mib() if scenario != "cold-start" else None,
        note="",
        target_ms=percentile(image_samples, options.percentile) if stable else None,
        block_ms=tuple(block_ms),
        calibration_ms=tuple(calibration_ms),
    )


_ONE_COLOR: tuple[ScenarioName, ...] = ("latency", "throughput")
"""Scenarios whose multiplications are known: a palette graph shares some of them between colours."""


def noted(row: Row, note: str) -> Row:
    """The row with a remark."""
    return replace(row, note=note)
