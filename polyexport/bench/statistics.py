"""Statistics of time samples: percentiles, agreement of windows, and confidence intervals of ratios."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "STEADY",
    "WINDOWS",
    "Figures",
    "Interval",
    "is_steady",
    "percentile",
    "ratio_interval",
    "spread",
    "summarize",
]

WINDOWS = 3
"""Number of windows in every measurement."""

STEADY = 1.10
"""Largest ratio of the slowest window to the fastest at which a measurement counts as steady. NVIDIA's Triton
Performance Analyzer takes three windows and 10 % as well (``--stability-percentage``): https://github.com/triton-inference-server/perf_analyzer"""

_RESAMPLES = 2000
_SEED = 20_260_101


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """Percentiles of a set of samples, in their unit."""

    samples: int
    min: float
    p50: float
    p90: float | None
    """None for fewer than 10 samples, where it would say no more than the maximum."""

    p99: float | None
    """None for fewer than 100 samples."""

    max: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """Estimate with its confidence interval of 95 %."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.3f} ({self.low:.3f} to {self.high:.3f})"


def summarize(samples: Sequence[float]) -> Figures:
    """Sum samples up as minimum, maximum and the usual percentiles.

    Raises:
        ValueError: no samples.
    """
    if not len(samples):
        raise ValueError("no samples")
    return Figures(
        samples=len(samples),
        min=float(min(samples)),
        p50=float(np.median(samples)),
        p90=percentile(samples, 90),
        p99=percentile(samples, 99),
        max=float(max(samples)),
    )


def percentile(samples: Sequence[float], wanted: float) -> float | None:
    """Percentile of samples, by linear interpolation between the closest ranks (NumPy's default).

    The result is None if less than one sample is expected beyond it: the 99th percentile needs 100 samples, the 90th
    10, the median 2.
    """
    if round(len(samples) * (100 - wanted), 6) < 100:
        return None
    return float(np.percentile(samples, wanted))


def spread(windows: Sequence[float]) -> float:
    """Ratio of the largest of the windows' figures to the smallest."""
    return max(windows) / min(windows)


def is_steady(windows: Sequence[float]) -> bool:
    """Whether the windows' figures lie within 10 % of each other."""
    return spread(windows) <= STEADY


def ratio_interval(above: Sequence[float], below: Sequence[float], *, paired: bool) -> Interval:
    """Ratio of the median of ``above`` to the median of ``below``, with the interval of a percentile bootstrap.

    Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7(1), 1979. The same samples
    give the same interval.

    Args:
        above: samples, all above 0.
        below: samples, all above 0.
        paired: whether samples of one index were taken side by side. Ratios of pairs are resampled then, which cancels
            whatever slowed both down.

    Raises:
        ValueError: no samples, or pairs of different numbers.
    """
    if not len(above) or not len(below) or (paired and len(above) != len(below)):
        raise ValueError(f"cannot compare {len(above)} samples with {len(below)}")
    first, second = np.asarray(above, np.float64), np.asarray(below, np.float64)
    random = np.random.default_rng(_SEED)
    if paired:
        ratios = first / second
        resampled = np.median(_resample(ratios, random), axis=1)
        estimate = float(np.median(ratios))
    else:
        resampled = np.median(_resample(first, random), axis=1) / np.median(_resample(second, random), axis=1)
        estimate = float(np.median(first) / np.median(second))
    low, high = np.percentile(resampled, [2.5, 97.5]).tolist()
    return Interval(estimate=estimate, low=low, high=high)


def _resample(values: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    return values[random.integers(0, len(values), (_RESAMPLES, len(values)))]
