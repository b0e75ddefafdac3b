"""Speed limit of this machine: the rate at which the runtimes themselves multiply matrices.

A convolution is a multiplication of matrices with bookkeeping around it (Chellapilla et al., "High Performance
Convolutional Neural Networks for Document Processing", 2006), so a network cannot be faster than that.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from statistics import median

import numpy as np

from polyexport.runtime.open import open_session
from polyexport.runtime.probe import probe_provider
from polyexport.runtime.provider import MatmulFormat, all_providers, provider_of
from polyexport.runtime.providers import AUTO
from polyexport.runtime.session import Session, SessionOptions

__all__ = ["GFLOP", "Limit", "measure_limits", "multiplied_in", "multiplier"]

SIDE, TIMES = 512, 16
"""In ``matmul/`` a square matrix is multiplied by a constant one, and the product again, so many times: small enough
for the caches, and often enough that the ends do not count. Of sides from 256 to 2048, once to 16 times, no other was
much faster in any precision."""

GFLOP = 2 * SIDE**3 * TIMES / 1e9
"""Billions of operations in one run of ``multiplier``; multiplication and addition count separately, as in LINPACK."""

_WARM_UP_CALLS = 3
_SECONDS_PER_LIMIT = 0.15
_LEAST_CALLS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """Rate at which one runtime multiplies matrices in one precision."""

    provider: str
    precision: MatmulFormat
    gflop_per_s: float
    """Median rate on all granted cores; operations on integers for ``int8``."""


def multiplied_in(session: Session, model_precision: str) -> tuple[str, MatmulFormat] | None:
    """Provider and precision in which a session multiplies; None on devices, whose limit is not measured."""
    provider = provider_of(session.execution_provider)
    formats = provider.matmul_formats()
    if not formats:
        return None
    if model_precision == "int8":
        return provider.name, "int8"
    return provider.name, "bfloat16" if "bfloat16" in formats else "float32"


def multiplier(provider: str, precision: MatmulFormat) -> Callable[[], float]:
    """Make a function that multiplies the matrices once, on all granted cores, and returns the milliseconds.

    Raises:
        ProviderError: the provider cannot be used.
    """
    name = "int8" if precision == "int8" else "float32"
    graph = files("polyexport.bench").joinpath("matmul", f"{name}.onnx").read_bytes()
    session = open_session(graph, SessionOptions(provider=provider, use_tf32=precision == "bfloat16"))
    random = np.random.default_rng(0)
    matrix = (
        random.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
        if precision == "int8"
        else random.random((SIDE, SIDE), dtype=np.float32)
    )

    def multiply() -> float:
        started = time.perf_counter()
        session.run("c", {"a": matrix})
        return (time.perf_counter() - started) * 1e3

    for _ in range(_WARM_UP_CALLS):
        multiply()
    return multiply


def measure_limits(provider: str = AUTO) -> tuple[Limit, ...]:
    """Measure every runtime that works in every precision it has; ``cpu`` measures ONNX Runtime alone."""
    on_processor = [each for each in all_providers() if not each.on_device and (each.built_in or provider != "cpu")]
    wanted = [
        (each.name, precision)
        for each in on_processor
        if probe_provider(each.name).works
        for precision in each.matmul_formats()
    ]
    limits = []
    for name, precision in wanted:
        multiply = multiplier(name, precision)
        samples: list[float] = []
        deadline = time.perf_counter() + _SECONDS_PER_LIMIT
        while len(samples) < _LEAST_CALLS or time.perf_counter() < deadline:
            samples.append(multiply())
        limits.append(Limit(provider=name, precision=precision, gflop_per_s=GFLOP / median(samples) * 1e3))
    return tuple(limits)
