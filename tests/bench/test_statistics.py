import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyexport.bench.statistics import is_steady, percentile, ratio_interval, summarize

TIMES = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=200)


def test_percentiles_by_hand() -> None:
    figures = summarize([float(value) for value in range(1, 102)])
    assert (figures.samples, figures.min, figures.p50, figures.p90, figures.p99, figures.max) == (
        101,
        1,
        51,
        91,
        100,
        101,
    )


@given(TIMES)
def test_percentiles_are_ordered(samples: list[float]) -> None:
    figures = summarize(samples)
    known = [figures.min, figures.p50, figures.p90, figures.p99, figures.max]
    ordered = [value for value in known if value is not None]
    assert ordered == sorted(ordered)


@pytest.mark.parametrize(("wanted", "fewest"), [(50, 2), (90, 10), (95, 20), (99, 100), (99.9, 1000)])
def test_a_percentile_needs_samples_beyond_it(wanted: float, fewest: int) -> None:
    assert percentile([1.0] * fewest, wanted) == 1
    assert percentile([1.0] * (fewest - 1), wanted) is None


def test_no_samples_no_figure() -> None:
    with pytest.raises(ValueError, match="no samples"):
        summarize([])


@pytest.mark.parametrize(
    ("windows", "steady"), [([100, 105, 110], True), ([100, 100, 110.2], False), ([5, 5, 5], True)]
)
def test_windows_within_ten_percent_are_steady(windows: list[float], steady: bool) -> None:
    assert is_steady(windows) is steady


def test_a_ratio_by_hand() -> None:
    interval = ratio_interval([2.2, 4.4, 6.6], [1.0, 2.0, 3.0], paired=True)
    assert (interval.estimate, interval.low, interval.high) == pytest.approx((2.2, 2.2, 2.2))


@given(TIMES)
def test_what_slowed_both_falls_out_of_pairs(below: list[float]) -> None:
    interval = ratio_interval([1.5 * value for value in below], below, paired=True)
    assert interval.low == pytest.approx(1.5)
    assert interval.high == pytest.approx(1.5)


@given(TIMES, TIMES)
def test_an_interval_holds_its_estimate_and_is_the_same_each_time(above: list[float], below: list[float]) -> None:
    interval = ratio_interval(above, below, paired=False)
    assert interval.low <= interval.high
    assert min(above) / max(below) <= interval.estimate * 1.0001
    assert interval == ratio_interval(above, below, paired=False)


@pytest.mark.parametrize(
    ("above", "below", "paired"), [([], [1.0], False), ([1.0], [], False), ([1.0], [1.0, 2.0], True)]
)
def test_nothing_to_compare(above: list[float], below: list[float], paired: bool) -> None:
    with pytest.raises(ValueError, match="cannot compare"):
        ratio_interval(above, below, paired=paired)
