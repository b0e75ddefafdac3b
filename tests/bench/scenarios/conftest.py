"""Settings and recorders for the tests of single scenarios."""

import numpy as np
import pytest

from polyexport.bench.scenarios.scenario import Settings
from polyexport.model.model import Model


@pytest.fixture
def settings() -> Settings:
    return Settings(size=16, seconds=0.02)


@pytest.fixture
def shapes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shape of the image in each call of ``Model.run``."""
    calls: list[tuple[int, ...]] = []
    real = Model.run

    def run(self: Model, image: np.ndarray, color: np.ndarray) -> np.ndarray:
        calls.append(image.shape)
        return real(self, image, color)

    monkeypatch.setattr(Model, "run", run)
    return calls
