"""What is timed: `Model.run`, from a uint8 batch in memory to a uint8 batch in memory.

The uint8 conversions are inside the graph and so inside the time; decoding, encoding and files are not. The input is an
outline, not noise, though a convolution takes as long on either.
"""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from polyexport.bench.statistics import Latency, summarize
from polyexport.color import parse_color
from polyexport.errors import UsageError
from polyexport.model import Model

_MAX_PIXELS = 16 * 1024 * 1024  # activations of a full-width network take about 2 KiB per pixel

__all__ = ["BenchOptions", "BenchReport", "Scenario", "bench"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchOptions:
    """What to time, and for how long."""

    batch_sizes: tuple[int, ...] = (1, 8)
    size: int = 0
    """Height and width, pixels; 0 is the model's training size."""

    warm_up: int = 5
    """Calls of each shape that are not counted: the first ones allocate and tune."""

    seconds: float = 5.0
    """Time spent on each batch size."""

    min_samples: int = 20
    """Calls that are counted at least, however long they take."""

    target_ms: float = 50.0
    """Largest p50 per image that passes."""

    def __post_init__(self) -> None:
        if not self.batch_sizes or min(self.batch_sizes) < 1 or self.size < 0 or self.warm_up < 1:
            raise ValueError(f"batch sizes and warm-up must be positive, got {self}")
        if self.seconds <= 0 or self.min_samples < 1 or self.target_ms <= 0:
            raise ValueError(f"seconds, samples and target must be positive, got {self}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """One batch size, timed."""

    batch_size: int
    size: int
    latency: Latency
    """Of a whole batch."""

    p50_per_image_ms: float
    images_per_s: float
    """Images of all counted calls over their summed time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchReport:
    """Every scenario and the verdict."""

    execution_provider: str
    scenarios: tuple[Scenario, ...]
    target_ms: float

    @property
    def target_met(self) -> bool:
        """Whether every batch size has its p50 per image within the target."""
        return all(scenario.p50_per_image_ms <= self.target_ms for scenario in self.scenarios)


def bench(model: Model, options: BenchOptions, *, report: Callable[[str], None] = lambda line: None) -> BenchReport:
    """Time a model, one batch size after the other, in this thread.

    Raises:
        UsageError: a size that the network cannot take.
    """
    size = options.size or model.contract.training_size
    if size % model.contract.size_multiple:
        raise UsageError(
            f"the network cannot take size {size}", remedy=f"give a multiple of {model.contract.size_multiple}"
        )
    if max(options.batch_sizes) * size * size > _MAX_PIXELS:
        raise UsageError(
            f"batch {max(options.batch_sizes)} at {size}x{size} is more than {_MAX_PIXELS} pixels",
            remedy="give a smaller --batch-size or --size",
        )
    scenarios = []
    for batch_size in options.batch_sizes:
        report(f"timing batch {batch_size} at {size}x{size}")
        samples_ms = _sample(model, batch_size, size, options)
        latency = summarize(samples_ms)
        scenarios.append(
            Scenario(
                batch_size=batch_size,
                size=size,
                latency=latency,
                p50_per_image_ms=latency.p50_ms / batch_size,
                images_per_s=1e3 * batch_size * len(samples_ms) / sum(samples_ms),
            )
        )
    return BenchReport(
        execution_provider=model.session.execution_provider, scenarios=tuple(scenarios), target_ms=options.target_ms
    )


def _sample(model: Model, batch_size: int, size: int, options: BenchOptions) -> Sequence[float]:
    image = np.repeat(_outline(size)[None], batch_size, axis=0)
    color = np.repeat(model.color_value(_any_color(model))[None], batch_size, axis=0)
    if model.contract.many_colors:
        color = color[:, None]  # one colour an image
    for _ in range(options.warm_up):
        model.run(image, color)
    samples_ms: list[float] = []
    deadline = time.perf_counter() + options.seconds
    gc.collect()
    gc.disable()
    try:
        while len(samples_ms) < options.min_samples or time.perf_counter() < deadline:
            started = time.perf_counter_ns()
            model.run(image, color)
            samples_ms.append((time.perf_counter_ns() - started) / 1e6)
    finally:
        gc.enable()
    return samples_ms


def _any_color(model: Model) -> str | tuple[int, int, int]:
    return model.contract.palette[0][1] if model.contract.palette else parse_color("tomato").rgb


def _outline(size: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    page = Image.new("RGB", (size, size), "white")
    margin = size // 8
    ImageDraw.Draw(page).regular_polygon((size / 2, size / 2, size / 2 - margin), 5, outline="black")
    return np.asarray(page)
