from dataclasses import replace

import numpy as np
import pytest

from polyexport.bench.calls import checked_size, inputs, latency, palette, throughput
from polyexport.bench.options import BenchOptions, Subject
from polyexport.errors import UsageError
from polyexport.model.model import Model
from polyexport.runtime.cores import granted_cores

OPTIONS = BenchOptions(size=16, seconds=0.02, batch_sizes=(1, 3), colors=4)


def quiet(line: str) -> None:
    pass


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    calls: list[tuple[int, ...]] = []
    real = Model.run

    def run(self: Model, image: np.ndarray, color: np.ndarray) -> np.ndarray:
        calls.append(image.shape)
        return real(self, image, color)

    monkeypatch.setattr(Model, "run", run)
    return calls


def test_latency_is_one_image_a_call_after_a_warm_up(subject: Subject, seen: list[tuple[int, ...]]) -> None:
    (row,) = latency(subject, OPTIONS, quiet)
    assert set(seen[1:]) == {(1, 16, 16, 3)}  # the first is the golden sample
    assert len(seen) == 1 + 5 + sum(window.samples for window in row.windows)
    assert (row.callers, row.threads, row.images) == (1, granted_cores(), 1)


def test_throughput_warms_up_every_shape_and_fills_the_cores(subject: Subject, seen: list[tuple[int, ...]]) -> None:
    rows = throughput(subject, OPTIONS, quiet)
    for row, batch in zip(rows, (1, 3), strict=True):
        assert (row.name, row.images) == (f"batch {batch}", batch)
        assert (row.callers, row.threads) == (granted_cores(), 1)
        made = seen.count((batch, 16, 16, 3))
        assert made == 5 + 3 * row.callers + sum(window.samples for window in row.windows)


def test_a_palette_without_its_graph_is_a_batch(subject: Subject, seen: list[tuple[int, ...]]) -> None:
    one, several = palette(subject, OPTIONS, quiet)
    assert (one.name, several.name, several.images) == ("1 color", "4 colors", 4)
    assert (4, 16, 16, 3) in seen
    assert several.note == "no palette graph"


def test_a_rate_that_is_too_high_is_said(subject: Subject) -> None:
    (row,) = latency(subject, replace(OPTIONS, rate=10_000.0), quiet)
    assert row.name == "10000 requests/s"
    assert not row.stable or row.note.startswith("SATURATED")


def test_inputs_fit_every_conditioning(tiny_model: Model, vocabulary_model: Model) -> None:
    for model in (tiny_model, vocabulary_model):
        image, color = inputs(model, 16, 3)
        assert model.run(image, color).shape == (3, 16, 16, 3)
        assert (image[0] == 255).mean() > 0.5


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (BenchOptions(size=30), "multiple of 4"),
        (BenchOptions(size=4096, batch_sizes=(8,)), "more than 16777216 pixels"),
        (BenchOptions(size=4096, scenarios=("palette",), batch_sizes=(1,)), "more than 16777216 pixels"),
    ],
)
def test_sizes_that_are_refused(tiny_model: Model, options: BenchOptions, told: str) -> None:
    with pytest.raises(UsageError) as refusal:
        checked_size(tiny_model, options)
    assert told in f"{refusal.value.message}: {refusal.value.remedy}"
