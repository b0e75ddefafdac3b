"""Percentiles of latency samples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Latency", "summarize"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """Wall-clock time of one call of the network, milliseconds."""

    samples: int
    min_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float


def summarize(samples_ms: Sequence[float]) -> Latency:
    """Percentiles by linear interpolation between the closest ranks (NumPy's default).

    Raises:
        ValueError: no samples.
    """
    if not samples_ms:
        raise ValueError("no samples")
    low, p50, p90, p99, high = np.percentile(samples_ms, [0, 50, 90, 99, 100]).tolist()
    return Latency(samples=len(samples_ms), min_ms=low, p50_ms=p50, p90_ms=p90, p99_ms=p99, max_ms=high)
