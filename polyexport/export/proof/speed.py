"""Comparison of the speed of two graphs in one process and on one execution provider, call by call in turn."""

import gc
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from polyexport.runtime.open import open_session
from polyexport.runtime.session import Session, SessionOptions

__all__ = ["Speed", "compare_speed"]

_WARM_UP_CALLS = 3
_MIN_ROUNDS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """Speed of a graph, the candidate, relative to the fp32 graph that it was made from."""

    execution_provider: str
    batch_size: int
    fp32_ms: float
    """Median time of one call of the fp32 graph, milliseconds."""

    candidate_ms: float
    """Median time of one call of the candidate, milliseconds."""

    ratio: float
    """Median over the rounds of the fp32 time divided by the candidate's: above 1 the candidate is faster."""

    rounds: int
    """Number of calls of each graph; fewer than asked for if the time was over."""

    ratio_quartiles: tuple[float, float]
    """Lower and upper quartile of the rounds' ratios."""


def compare_speed(
    fp32: onnx.ModelProto,
    candidate: onnx.ModelProto,
    feeds: Mapping[str, NDArray[Any]],
    provider: str,
    *,
    threads: int = 1,
    rounds: int = 15,
    seconds: float = 20.0,
) -> Speed:
    """Time both graphs, call by call in turn, so that a machine that changes its pace changes it for both.

    Args:
        fp32: The graph in fp32.
        candidate: The graph that is compared with it.
        feeds: Inputs of either graph, by name.
        provider: Execution provider that both run on.
        threads: Threads of a call on a CPU; `infer` uses one, and runs a call on each core.
        rounds: Largest number of calls of each graph.
        seconds: Time after which no further round begins, except for the first five.

    Raises:
        ProviderError: The execution provider cannot be used.
    """
    options = SessionOptions(provider=provider, threads=threads)
    sessions = [open_session(model.SerializeToString(), options) for model in (fp32, candidate)]
    for session in sessions:
        for _ in range(_WARM_UP_CALLS):
            _call_ms(session, feeds)
    samples: list[tuple[float, float]] = []
    deadline = time.perf_counter() + seconds
    gc.collect()
    while len(samples) < rounds and (len(samples) < _MIN_ROUNDS or time.perf_counter() < deadline):
        samples.append((_call_ms(sessions[0], feeds), _call_ms(sessions[1], feeds)))
    times = np.array(samples)
    ratios = times[:, 0] / times[:, 1]
    return Speed(
        execution_provider=sessions[1].execution_provider,
        batch_size=len(next(iter(feeds.values()))),
        fp32_ms=float(np.median(times[:, 0])),
        candidate_ms=float(np.median(times[:, 1])),
        ratio=float(np.median(ratios)),
        rounds=len(samples),
        ratio_quartiles=(float(np.percentile(ratios, 25)), float(np.percentile(ratios, 75))),
    )


def _call_ms(session: Session, feeds: Mapping[str, NDArray[Any]]) -> float:
    started = time.perf_counter()
    session.run(next(iter(session.outputs)), feeds)
    return 1e3 * (time.perf_counter() - started)
