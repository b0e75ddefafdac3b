"""Summaries of the scores of many images: by split, by color, by shape."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyexport.evaluate.catalog import COLUMN, METRICS, Metric
from polyexport.evaluate.color_difference import NAMES
from polyexport.evaluate.score import RIVALS, Item, Method, Scores, Split

__all__ = [
    "Confusion",
    "Distribution",
    "Lead",
    "Summary",
    "by_color",
    "by_shape",
    "confusion",
    "largest",
    "lead",
    "summarize",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Distribution:
    """Distribution of a metric over the images on which it is defined; all but ``images`` is None if there are none."""

    images: int
    mean: float | None
    min: float | None
    p05: float | None
    median: float | None
    p95: float | None
    max: float | None
    worst: float | None
    """Least good value; None also for a metric that has no direction."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """Summary of one method on a group of images."""

    images: int
    exact_images: int
    metrics: dict[str, Distribution]
    """Distribution of every metric of ``METRICS``, by its name."""

    def partial(self, name: str) -> bool:
        """Whether a metric is undefined on some of the images, so that its statistics are those of fewer images."""
        return 0 < self.metrics[name].images < self.images

    def mean(self, name: str) -> float | None:
        """Mean of a metric; None if it is undefined on every image."""
        return self.metrics[name].mean


@dataclass(frozen=True, kw_only=True, slots=True)
class Confusion:
    """Confusion matrix of color names."""

    names: tuple[str, ...]
    """Names that occur, in the order of ``color_difference.NAMES``."""

    counts: NDArray[np.int64]
    """Number of images, [wanted, painted]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lead:
    """Comparison of the model with the better of its rivals, by the mean PSNR on a split."""

    rival: Method
    """The better of ``RIVALS``; the first of two that are equally good."""

    rival_psnr_db: float
    model_psnr_db: float

    @property
    def ahead_db(self) -> float:
        """Mean PSNR of the model less that of the better rival; negative if the rival is better."""
        return self.model_psnr_db - self.rival_psnr_db


def lead(split: Split) -> Lead:
    """Compare the model with the better of its rivals on a split, which has at least one image."""
    means = {method: float(scores.values[:, COLUMN["psnr_db"]].mean()) for method, scores in split.scores.items()}
    better = max(RIVALS, key=lambda method: means[method])
    return Lead(rival=better, rival_psnr_db=means[better], model_psnr_db=means["model"])


def summarize(scores: Scores, rows: Sequence[int] | None = None) -> Summary:
    """Summarize the scores of the images in ``rows``, or of all images if it is None."""
    values = scores.values if rows is None else scores.values[list(rows)]
    return Summary(
        images=len(values),
        exact_images=int(values[:, COLUMN["exact"]].sum()),
        metrics={metric.name: _distribution(metric, values[:, COLUMN[metric.name]]) for metric in METRICS},
    )


def by_color(items: Sequence[Item], scores: Scores) -> dict[str, Summary]:
    """Summarize by the name nearest to the wanted color, in the order of the names."""
    groups = _grouped([item.color_name for item in items])
    return {name: summarize(scores, groups[name]) for name in NAMES if name in groups}


def by_shape(items: Sequence[Item], scores: Scores) -> dict[str, Summary]:
    """Summarize by shape, in alphabetical order."""
    groups = _grouped([item.shape for item in items])
    return {shape: summarize(scores, groups[shape]) for shape in sorted(groups)}


def largest(groups: Mapping[str, Summary], count: int) -> dict[str, Summary]:
    """Keep the ``count`` groups with the most images, in their order."""
    kept = set(sorted(groups, key=lambda name: -groups[name].images)[:count])
    return {name: summary for name, summary in groups.items() if name in kept}


def confusion(items: Sequence[Item], scores: Scores) -> Confusion:
    """Count wanted against painted names, over the images with a fill that can be told from paper."""
    pairs = [(item.color_name, painted) for item, painted in zip(items, scores.painted, strict=True) if painted]
    names = tuple(name for name in NAMES if any(name in pair for pair in pairs))
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    for wanted, painted in pairs:
        counts[names.index(wanted), names.index(painted)] += 1
    return Confusion(names=names, counts=counts)


def _grouped(keys: Sequence[str]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        groups.setdefault(key, []).append(row)
    return groups


def _distribution(metric: Metric, values: NDArray[np.float64]) -> Distribution:
    defined = values[~np.isnan(values)]
    if not len(defined):
        return Distribution(images=0, mean=None, min=None, p05=None, median=None, p95=None, max=None, worst=None)
    p05, median, p95 = (float(value) for value in np.percentile(defined, (5, 50, 95)))
    low, high = float(defined.min()), float(defined.max())
    worst = {"higher": low, "lower": high, "zero": max(low, high, key=abs), "neither": None}[metric.better]
    return Distribution(
        images=len(defined),
        mean=float(defined.mean()),
        min=low,
        p05=p05,
        median=median,
        p95=p95,
        max=high,
        worst=worst,
    )
