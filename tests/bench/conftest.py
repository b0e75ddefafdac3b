"""Benchmarks of the tiny network that take a moment."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from polyexport.bench.compare import Comparison
from polyexport.bench.document import BenchReport
from polyexport.bench.run import Extras, bench
from polyexport.bench.scenarios import build_scenario
from polyexport.bench.scenarios.scenario import Settings, Subject
from polyexport.model.loading.limits import DEFAULT_LIMITS
from polyexport.model.loading.load import load_model
from polyexport.model.model import Model
from polyexport.runtime.provider import all_providers

QUICK = Settings(size=16, seconds=0.02)
VALUES = {"batch_sizes": (1, 3)}

Bench = Callable[..., BenchReport]


@pytest.fixture(scope="session", autouse=True)
def frontier_without_webgpu() -> Iterator[None]:
    """WebGPU's plugin looks for a driver once in a process, and only its own tests name a driver before that."""
    others = [each for each in all_providers() if each.name != "webgpu"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polyexport.bench.frontier.all_providers", lambda: others)
        yield


@pytest.fixture(scope="session")
def quick_bench(tiny_model_path: Path) -> Bench:
    def run(
        *names: str,
        extras: Extras | None = None,
        progress: Callable[[str], None] = lambda line: None,
        **values: object,
    ) -> BenchReport:
        scenarios = [build_scenario(name, VALUES | values) for name in names or ("latency",)]
        return bench(tiny_model_path, scenarios, QUICK, extras or Extras(), provider="cpu", progress=progress)

    return run


@pytest.fixture(scope="session")
def full_report(quick_bench: Bench, tiny_model_path: Path, frontier_without_webgpu: None) -> BenchReport:
    """A report with everything in it, also a program that cannot be compared."""
    comparison = Comparison(names=("openvino", "onnxruntime-pool", "missing.onnx"))
    extras = Extras(compare=comparison, frontier=(tiny_model_path,), profile=True)
    return quick_bench("latency", "throughput", "cold-start", extras=extras, processes=3)


@pytest.fixture
def subject(tiny_model_path: Path) -> Subject:
    """Without a calibration."""

    def load(*, threads: int, streams: int, images: int) -> Model:
        return load_model(tiny_model_path, provider="cpu", threads=threads, streams=streams, images=images)

    return Subject(
        load=load,
        path=tiny_model_path,
        provider="cpu",
        device_id=0,
        threads=0,
        load_limits=DEFAULT_LIMITS,
        macs=1_000_000,
        calibrate=None,
    )
