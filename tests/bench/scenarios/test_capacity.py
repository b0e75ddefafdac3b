import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from polyexport.bench.scenarios.capacity import CapacitySearch
from polyexport.bench.scenarios.scenario import Settings, Subject
from polyexport.model.model import Model
from polyexport.runtime.cores import granted_cores

QUICK = Settings(size=16, seconds=0.1)


class Slowed:
    """A model whose calls take some milliseconds more."""

    def __init__(self, model: Model, seconds: float) -> None:
        self._model, self._seconds = model, seconds
        self._lock = threading.Lock()
        self._now = self.most = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def run(self, *inputs: np.ndarray) -> np.ndarray:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(self._seconds)
        result = self._model.run(*inputs)
        with self._lock:
            self._now -= 1
        return result


def slowed(subject: Subject, seconds: float) -> tuple[Subject, list[Slowed]]:
    models: list[Slowed] = []

    def load(**values: int) -> Any:
        models.append(Slowed(subject.load(**values), seconds))
        return models[-1]

    return replace(subject, load=load), models


@pytest.mark.slow
def test_the_model_gets_as_many_calls_at_a_time_as_there_are_cores(subject: Subject) -> None:
    slow, models = slowed(subject, 0.004)
    told: list[str] = []
    rate = 100.0 * granted_cores()
    scenario = CapacitySearch(rate=rate, max_p99_ms=2000.0, probe_seconds=10.0)
    (row,) = scenario.measure(slow, QUICK, told.append)
    assert models[0].most == row.callers == granted_cores()
    assert (row.name, row.size, row.threads) == (f"{rate:g} requests/s, p99 <= 2000 ms", 16, 1)
    assert row.capacity is not None
    assert row.capacity.verdict == "met"
    assert row.images_per_s == rate
    assert "holds (p99" in told[-1]


def test_a_bound_that_one_call_exceeds(subject: Subject) -> None:
    slow, _ = slowed(subject, 0.02)
    (row,) = CapacitySearch(max_p99_ms=5.0).measure(slow, QUICK, print)
    assert row.capacity is not None
    assert (row.capacity.verdict, row.capacity.probes, row.images_per_s) == ("missed", (), None)
    assert row.capacity.alone_ms > 20
    assert row.name == "search, p99 <= 5 ms"


def test_a_search_between_what_holds_and_what_fails(subject: Subject) -> None:
    slow, _ = slowed(subject, 0.01)
    (row,) = CapacitySearch(max_p99_ms=300.0, probe_seconds=1.0).measure(slow, QUICK, print)
    assert row.capacity is not None
    # Within a second few rates decide; those that do are on the right side of what the sleeps allow.
    assert row.capacity.holds_per_s <= 105 * granted_cores()
    assert row.capacity.probes


def test_a_probe_is_no_longer_than_it_may_be() -> None:
    assert CapacitySearch(probe_seconds=2.0).plan(Settings(seconds=10.0)).seconds == 2.0
    assert CapacitySearch().plan(Settings(seconds=2.0)).seconds == 6.0
