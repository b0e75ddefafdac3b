import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyexport.bench.statistics import summarize


def test_percentiles_by_hand() -> None:
    latency = summarize([float(value) for value in range(1, 102)])
    assert (latency.samples, latency.min_ms, latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.max_ms) == (
        101,
        1,
        51,
        91,
        100,
        101,
    )


@given(st.lists(st.floats(0.001, 1e6), min_size=1))
def test_percentiles_are_ordered(samples: list[float]) -> None:
    latency = summarize(samples)
    ordered = [latency.min_ms, latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.max_ms]
    assert ordered == sorted(ordered)


def test_no_samples_no_figure() -> None:
    with pytest.raises(ValueError, match="no samples"):
        summarize([])
