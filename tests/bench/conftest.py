"""Benchmarks of the tiny network that take a moment."""

from collections.abc import Callable
from pathlib import Path

import pytest

from polyexport.bench.document import BenchReport
from polyexport.bench.options import BenchOptions, Subject
from polyexport.bench.run import Extras, bench
from polyexport.model.model import Model, load_model

QUICK = {"size": 16, "seconds": 0.02, "batch_sizes": (1, 3)}

Bench = Callable[..., BenchReport]


@pytest.fixture(scope="session")
def quick_bench(tiny_model_path: Path) -> Bench:
    def run(*scenarios: str, extras: Extras | None = None, **options: object) -> BenchReport:
        built = BenchOptions(scenarios=scenarios or ("latency",), **(QUICK | options))  # type: ignore[arg-type]
        return bench(tiny_model_path, built, extras or Extras(), provider="cpu")

    return run


@pytest.fixture
def subject(tiny_model_path: Path) -> Subject:
    """Without a calibration."""

    def load(*, threads: int, streams: int, images: int) -> Model:
        return load_model(tiny_model_path, provider="cpu", threads=threads, streams=streams, images=images)

    return Subject(
        load=load, path=tiny_model_path, provider="cpu", device_id=0, threads=0, macs=1_000_000, calibrate=None
    )
