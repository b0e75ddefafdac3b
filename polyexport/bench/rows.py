"""Rows of a benchmark report, made from windows of calls, with figures only where the windows agree."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

import numpy as np

from polyexport.bench.capacity import Capacity
from polyexport.bench.document import Row, WindowFigures
from polyexport.bench.limit import GFLOP
from polyexport.bench.measure import Window, peak_rss_mib
from polyexport.bench.order_statistics import count_outliers, percentile_interval
from polyexport.bench.scenarios.scenario import Scenario, Settings, Subject
from polyexport.bench.statistics import is_steady, percentile, summarize

__all__ = ["SATURATED", "capacity_row", "clusters", "make_row", "with_note"]

SATURATED = "SATURATED"
"""Begins the note of a row whose requests came faster than they were served."""

_CLUSTERS = 30
_LEAST_CLUSTER = 5


def make_row(
    scenario: Scenario,
    name: str,
    windows: Sequence[Window],
    subject: Subject,
    settings: Settings,
    *,
    size: int,
    images: int = 1,
    callers: int = 1,
    threads: int = 0,
) -> Row:
    """Judge whether the windows agree, and sum them up.

    Args:
        scenario: the scenario that was measured.
        name: name of the row within the scenario.
        windows: windows of calls, two or more.
        subject: the model that was measured.
        settings: settings of the benchmark, for the percentile that is compared with the target.
        size: height and width of the images, pixels; 0 for files of any size.
        images: number of images in a call, times their colors.
        callers: number of calls that run at a time.
        threads: threads of each call; 0 if the scenario does not set them.
    """
    p50s = [median(window.samples_ms) for window in windows]
    rates = [scenario.images_per_s(window, images) for window in windows]
    stable = is_steady(p50s) and is_steady(rates)
    mean_rate = sum(rates) / len(rates)
    blocks = [block for window in windows for block in window.blocks]
    samples = [sample for block in blocks for sample in block.samples_ms]
    image_blocks = [scenario.image_times_ms(block, images) for block in blocks]
    image_samples = [sample for block in image_blocks for sample in block]
    calibration_ms = [block.calibration_ms for block in blocks]
    gflop_per_s = 2 * subject.macs * mean_rate / 1e9 if scenario.counts_macs else 0.0
    limit = GFLOP / median(calibration_ms) * 1e3 if all(calibration_ms) else 0.0
    cpu_ms = 1e3 * sum(window.cpu_s for window in windows) / (images * len(samples))
    return Row(
        scenario=scenario.name,
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
        images_per_s=mean_rate if stable and scenario.times_images else None,
        cpu_ms_per_image=cpu_ms if stable and scenario.in_process else None,
        gflop_per_s=gflop_per_s if stable and gflop_per_s else None,
        limit_fraction=gflop_per_s / limit if stable and gflop_per_s and limit else None,
        peak_rss_mib=peak_rss_mib() if scenario.times_images else None,
        note="",
        target_ms=percentile(image_samples, settings.percentile) if stable else None,
        target_interval=percentile_interval(clusters(image_blocks), settings.percentile) if stable else None,
        target_slower=sum(sample > settings.target_ms for sample in image_samples) / len(image_samples)
        if stable
        else None,
        outliers=count_outliers(image_samples) if stable else None,
        capacity=None,
        block_ms=tuple(scenario.image_ms(block, images) for block in blocks),
        calibration_ms=tuple(calibration_ms),
    )


def capacity_row(scenario: Scenario, found: Capacity, name: str, *, size: int, callers: int, threads: int = 0) -> Row:
    """Row of a capacity, which has rates in place of the times of calls.

    Args:
        scenario: the scenario that was measured.
        found: the rates.
        name: name of the row within the scenario.
        size: height and width of the images, pixels.
        callers: largest number of requests at a time.
        threads: threads of each call; 0 if they are not known.
    """
    return Row(
        scenario=scenario.name,
        name=name,
        size=size,
        images=1,
        callers=callers,
        threads=threads,
        stable=True,
        windows=(),
        call_ms=None,
        image_ms=None,
        images_per_s=found.holds_per_s or None,
        cpu_ms_per_image=None,
        gflop_per_s=None,
        limit_fraction=None,
        peak_rss_mib=None,
        note="",
        target_ms=None,
        target_interval=None,
        target_slower=None,
        outliers=None,
        capacity=found,
        block_ms=(),
        calibration_ms=(),
    )


def clusters(blocks: Sequence[Sequence[float]]) -> list[list[float]]:
    """Cut blocks of samples into some 30 parts that followed each other, of five samples or more where there are such.

    A time that was slow for a while shows as parts that differ.
    """
    wanted = max(1, round(_CLUSTERS / len(blocks)))
    cut = []
    for block in blocks:
        parts = max(1, min(wanted, len(block) // _LEAST_CLUSTER))
        cut += [part.tolist() for part in np.array_split(np.asarray(block, np.float64), parts)]
    return cut


def with_note(row: Row, note: str) -> Row:
    """The row with a remark, which the table prints below its figures."""
    return replace(row, note=note)
