from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from polyexport.bench.document import BenchReport, Row
from polyexport.bench.limit import GFLOP
from polyexport.bench.measure import Block, Window
from polyexport.bench.rows import make_row
from polyexport.bench.run import Extras, bench
from polyexport.bench.scenarios import build_scenario
from polyexport.bench.scenarios.latency import Latency
from polyexport.bench.scenarios.scenario import Settings, Subject
from polyexport.bench.scenarios.throughput import Throughput

Bench = Callable[..., BenchReport]


def windows(*p50s: float, calls: int = 40, calibration_ms: float = 2.0) -> list[Window]:
    """Of calls that take as long as each other."""
    return [
        Window(
            blocks=[
                Block(samples_ms=[p50] * calls, wall_s=p50 * calls / 1e3, cpu_s=0.1, calibration_ms=calibration_ms)
                for _ in range(2)
            ]
        )
        for p50 in p50s
    ]


def test_what_an_image_costs_is_what_all_callers_make_of_the_machine(subject: Subject) -> None:
    # Three callers on two cores: most calls take 10 ms, some wait another 10.
    block = Block(samples_ms=[10.0] * 20 + [20.0] * 10, wall_s=0.2)
    made = make_row(
        Throughput(), "batch 4", [Window(blocks=[block])] * 3, subject, Settings(), size=16, images=4, callers=3
    )
    assert made.image_ms is not None
    assert made.image_ms == pytest.approx(200 / 120)
    assert made.images_per_s == pytest.approx(1e3 / made.image_ms)


def row(subject: Subject, *p50s: float, settings: Settings | None = None, **values: int) -> Row:
    built = settings or Settings()
    return make_row(Latency(), "closed loop", windows(*p50s), subject, built, **({"size": 16} | values))


def test_figures_of_a_steady_machine(subject: Subject) -> None:
    made = row(subject, 10.0, 10.5, 11.0, images=4)
    assert made.stable
    assert made.call_ms is not None
    assert (made.call_ms.samples, made.call_ms.p50, made.call_ms.max) == (240, 10.5, 11.0)
    assert made.image_ms == 10.5 / 4
    assert made.images_per_s is not None
    assert made.images_per_s == pytest.approx(4 * (1e3 / 10 + 1e3 / 10.5 + 1e3 / 11) / 3)
    assert made.gflop_per_s == pytest.approx(2 * 1_000_000 * made.images_per_s / 1e9)
    assert made.gflop_per_s is not None
    limit = GFLOP / 2e-3
    assert made.limit_fraction == pytest.approx(made.gflop_per_s / limit)


def test_no_figure_of_a_machine_that_was_not(subject: Subject) -> None:
    made = row(subject, 10.0, 10.0, 11.2)
    assert not made.stable
    figures = (made.call_ms, made.image_ms, made.images_per_s, made.gflop_per_s, made.limit_fraction, made.target_ms)
    assert figures == (None,) * 6
    assert [window.p50_ms for window in made.windows] == [10.0, 10.0, 11.2]


def test_stalls_that_the_median_does_not_see(subject: Subject) -> None:
    stalled = windows(10.0, 10.0, 10.0)
    stalled[1] = Window(blocks=[Block(samples_ms=[10.0] * 9 + [500.0], wall_s=0.59)])
    assert not make_row(Latency(), "closed loop", stalled, subject, Settings(), size=16).stable


def test_a_run_says_what_it_measured(quick_bench: Bench, tiny_model_path: Path) -> None:
    report = quick_bench("latency", "throughput")
    assert [(each.scenario, each.name) for each in report.rows] == [
        ("latency", "closed loop"),
        ("throughput", "batch 1"),
        ("throughput", "batch 3"),
    ]
    assert report.model.execution_provider == "CPUExecutionProvider"
    assert report.model.multiplied == "cpu float32"
    assert report.model.macs > 0
    assert report.model.placement["CPUExecutionProvider"]["Conv"] > 3
    assert all(all(each.calibration_ms) for each in report.rows)
    assert set(report.rules) == {"latency", "throughput"}
    assert report.environment.cores_granted >= 1
    assert report.machine is not None
    assert report.machine.seconds > 0
    assert all(each.stable is (each.target_interval is not None) is (each.outliers is not None) for each in report.rows)


@pytest.mark.parametrize(
    "values", [{"seconds": 0.0}, {"target_ms": 0.0}, {"percentile": 100.0}, {"percentile": 0.0}, {"size": -1}]
)
def test_settings_are_checked_when_built(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Settings(**values)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must be"):
        Extras(tolerance=-0.1)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("speed", {}),
        ("throughput", {"batch_sizes": ()}),
        ("throughput", {"batch_sizes": (0,)}),
        ("palette", {"colors": 0}),
        ("latency", {"rate": -1.0}),
        ("latency", {"rate": 10_001.0}),
        ("cold-start", {"processes": 2}),
        ("capacity", {"max_p99_ms": 0.0}),
        ("capacity", {"clients": 0}),
        ("capacity", {"clients": 501}),
        ("capacity", {"probe_seconds": 0.0}),
    ],
)
def test_scenarios_check_their_options_when_built(name: str, values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        build_scenario(name, values)


def test_a_benchmark_has_a_scenario(tiny_model_path: Path) -> None:
    with pytest.raises(ValueError, match="must be"):
        bench(tiny_model_path, [], Settings(), Extras())


def test_a_row_knows_itself_in_another_report(subject: Subject) -> None:
    one = row(subject, 10.0, 10.0, 10.0)
    assert one.key == replace(one, note="other").key
    assert one.key != replace(one, size=32).key
