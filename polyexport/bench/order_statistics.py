"""Confidence intervals of percentiles and of fractions, without a guess about the distribution of the samples.

A percentile lies between two of the sorted samples, and the binomial distribution says with which confidence: Hahn and
Meeker, "Statistical Intervals", 1991, chapter 5; Le Boudec, "Performance Evaluation of Computer and Communication
Systems", 2010, theorem 2.1. Both ask for independent samples. Times that follow each other are not: a slow second
makes many calls slow. So samples count for fewer where the slow ones stand together; the number that they count for is
that of surveys of clusters (Kish, "Survey Sampling", 1965: the design effect).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CONFIDENCE",
    "Bounds",
    "Outliers",
    "PercentileInterval",
    "count_outliers",
    "design_effect",
    "fewest_samples",
    "fraction_bounds",
    "percentile_interval",
    "ranks",
    "samples_to_decide",
]

CONFIDENCE = 0.95
"""Confidence of every interval; each of its ends alone is passed in 2.5 % of the cases at most."""

_LEAST_CLUSTERS = 3
_LEAST_CLUSTER = 2.0  # samples of a cluster, on average


@dataclass(frozen=True, kw_only=True, slots=True)
class PercentileInterval:
    """Confidence interval of 95 % of a percentile, in the unit of the samples."""

    low: float | None
    """Lower end; None where the samples are too few for one."""

    high: float | None
    """Upper end; None where the samples are too few for one, so that the percentile may be any greater."""

    samples: int
    """Number of samples."""

    effective: float
    """Number of independent samples that the samples are worth; smaller where the slow ones stand together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """Confidence bounds of a fraction, 0 to 1."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Outliers:
    """Number of samples outside of Tukey's fences. They are counted, never left out of a figure.

    A fence stands 1.5 interquartile ranges below the lower quartile and above the upper one, and those that are "far
    out" lie beyond 3 ranges: Tukey, "Exploratory Data Analysis", 1977, chapter 2.
    """

    outside: int
    """Samples beyond 1.5 interquartile ranges, far ones included."""

    far: int
    """Samples beyond 3 interquartile ranges."""


def count_outliers(samples: Sequence[float]) -> Outliers:
    """Count the samples outside of Tukey's fences.

    Raises:
        ValueError: no samples.
    """
    if not len(samples):
        raise ValueError("no samples")
    values = np.asarray(samples, np.float64)
    lower, upper = np.percentile(values, [25, 75])
    beyond = np.maximum(lower - values, values - upper)
    return Outliers(
        outside=int((beyond > 1.5 * (upper - lower)).sum()), far=int((beyond > 3.0 * (upper - lower)).sum())
    )


def ranks(samples: int, wanted: float) -> tuple[int | None, int | None]:
    """Ranks, from 1, of the sorted samples between which a percentile lies with 95 % confidence.

    Args:
        samples: number of independent samples.
        wanted: percentile, between 0 and 100.

    Returns:
        The lower rank, and the upper rank; None for an end for which the samples are too few.
    """
    from scipy.special import bdtr

    fraction, tail = wanted / 100, (1 - CONFIDENCE) / 2
    # bdtr(k, n, p) is the probability that at most k of n samples lie below the percentile.
    below = bdtr(np.arange(samples, dtype=np.float64), samples, fraction)
    low = int(np.searchsorted(below, tail, side="right"))
    high = int(np.searchsorted(below, 1 - tail, side="left")) + 1
    return low or None, high if high <= samples else None


def percentile_interval(clusters: Sequence[Sequence[float]], wanted: float) -> PercentileInterval:
    """Confidence interval of 95 % of a percentile, from the sorted samples.

    Args:
        clusters: samples in the order in which they were taken, in parts that followed each other.
        wanted: percentile, between 0 and 100.

    Raises:
        ValueError: no samples.
    """
    values = np.concatenate([np.asarray(cluster, np.float64) for cluster in clusters]) if clusters else np.empty(0)
    if not len(values):
        raise ValueError("no samples")
    estimate = np.percentile(values, wanted)
    effect = design_effect([[value > estimate for value in cluster] for cluster in clusters])
    effective = len(values) / effect
    low, high = ranks(int(effective), wanted)
    ordered, scale = np.sort(values), len(values) / max(1, int(effective))
    return PercentileInterval(
        low=None if low is None else float(ordered[math.floor(low * scale) - 1]),
        high=None if high is None else float(ordered[min(len(values), math.ceil(high * scale)) - 1]),
        samples=len(values),
        effective=effective,
    )


def design_effect(clusters: Sequence[Sequence[bool] | NDArray[np.bool_]]) -> float:
    """Number of samples that are worth one independent sample, 1 or more.

    It is the variance of the number of true values in clusters, over the variance that independent values have. Without
    clusters of several samples nothing can be said, and the effect is 1.

    Args:
        clusters: values in the order in which they were taken, in parts that followed each other.
    """
    sizes = np.array([len(cluster) for cluster in clusters], np.float64)
    if len(sizes) < _LEAST_CLUSTERS or sizes.mean() < _LEAST_CLUSTER:
        return 1.0
    counts = np.array([np.count_nonzero(cluster) for cluster in clusters], np.float64)
    fraction = counts.sum() / sizes.sum()
    independent = sizes.sum() * fraction * (1 - fraction)
    if independent == 0:
        return 1.0
    found = ((counts - sizes * fraction) ** 2).sum() * len(sizes) / (len(sizes) - 1)
    return float(min(sizes.max(), max(1.0, found / independent)))


def fraction_bounds(true: int, samples: int, *, effect: float = 1.0, confidence: float = CONFIDENCE) -> Bounds:
    """Confidence bounds of the fraction of true values, from the binomial distribution.

    Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial", Biometrika
    26, 1934.

    Args:
        true: number of true values.
        samples: number of values; none give the bounds 0 and 1.
        effect: design effect, by which both numbers are divided.
        confidence: confidence of the interval; each of its ends is passed in half of the remaining cases.

    Raises:
        ValueError: more true values than samples, or a negative number.
    """
    from scipy.special import betaincinv

    if not 0 <= true <= samples:
        raise ValueError(f"true must be from 0 to {samples}, got {true}")
    yes, no, tail = true / effect, (samples - true) / effect, (1 - confidence) / 2
    return Bounds(
        low=float(betaincinv(yes, no + 1, tail)) if true else 0.0,
        high=float(betaincinv(yes + 1, no, 1 - tail)) if true < samples else 1.0,
    )


def fewest_samples(wanted: float) -> int:
    """Smallest number of independent samples that give a percentile an interval with both ends."""
    tail, fraction = (1 - CONFIDENCE) / 2, wanted / 100
    return math.ceil(max(math.log(tail) / math.log(fraction), math.log(tail) / math.log1p(-fraction)))


def samples_to_decide(slower: float, wanted: float, effect: float = 1.0) -> int | None:
    """Number of samples after which an interval would lie on one side of a target, if the rest is like those so far.

    Args:
        slower: fraction of the samples beyond the target so far.
        wanted: percentile that is compared with the target.
        effect: design effect of the samples so far.

    Returns:
        The number; None if the percentile lies on the target itself, where no number decides.
    """
    allowed = 1 - wanted / 100
    distance = abs(slower - allowed)
    variance = max(slower * (1 - slower), allowed * (1 - allowed))
    needed = (1.96 / distance) ** 2 * variance * effect if distance > 0 else math.inf
    return max(fewest_samples(wanted), math.ceil(needed)) if needed < 1e7 else None
