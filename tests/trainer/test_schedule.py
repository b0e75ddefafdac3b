import pytest

from trainer.schedule import cosine_factor


def test_the_learning_rate_rises_linearly_and_falls_to_a_hundredth() -> None:
    assert cosine_factor(0.0) == 1e-3
    assert cosine_factor(0.015) == pytest.approx(0.5)
    assert cosine_factor(0.03) == 1.0
    assert cosine_factor(1.0) == pytest.approx(0.01)
    later = [cosine_factor(0.03 + step / 100) for step in range(97)]
    assert later == sorted(later, reverse=True)
