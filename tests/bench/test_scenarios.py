import numpy as np
import pytest

from polyexport.bench.environment import environment
from polyexport.bench.scenarios import BenchOptions, bench
from polyexport.errors import UsageError
from polyexport.model import Model

QUICK = BenchOptions(batch_sizes=(1, 3), size=16, warm_up=2, seconds=0.01, min_samples=4)


def test_every_shape_is_warmed_up_before_it_is_timed(tiny_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, ...]] = []
    real = Model.run

    def run(self: Model, image: np.ndarray, color: np.ndarray) -> np.ndarray:
        calls.append(image.shape)
        return real(self, image, color)

    monkeypatch.setattr(Model, "run", run)
    report = bench(tiny_model, QUICK)

    for scenario in report.scenarios:
        made = calls.count((scenario.batch_size, 16, 16, 3))
        assert made == scenario.latency.samples + 2
        assert scenario.latency.samples >= 4


def test_figures_are_consistent(tiny_model: Model) -> None:
    report = bench(tiny_model, QUICK)
    assert report.execution_provider == "CPUExecutionProvider"
    for scenario in report.scenarios:
        assert scenario.p50_per_image_ms == pytest.approx(scenario.latency.p50_ms / scenario.batch_size)
        slowest = 1e3 * scenario.batch_size / scenario.latency.max_ms
        assert slowest <= scenario.images_per_s * 1.0001


@pytest.mark.parametrize(("target_ms", "met"), [(1e9, True), (1e-6, False)])
def test_the_verdict(tiny_model: Model, target_ms: float, met: bool) -> None:
    options = BenchOptions(batch_sizes=(1,), size=16, seconds=0.01, min_samples=1, target_ms=target_ms)
    assert bench(tiny_model, options).target_met is met


def test_a_size_that_the_network_cannot_take(tiny_model: Model) -> None:
    with pytest.raises(UsageError, match="multiple of 4"):
        bench(tiny_model, BenchOptions(size=30))


@pytest.mark.parametrize("values", [{"batch_sizes": ()}, {"batch_sizes": (0,)}, {"seconds": 0}, {"target_ms": 0}])
def test_options_are_checked_when_built(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        BenchOptions(**values)  # type: ignore[arg-type]


def test_the_environment_is_this_machines() -> None:
    machine = environment()
    assert 1 <= machine.cores_granted <= machine.cores_visible
    assert machine.numpy == np.__version__
