from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom

from polyexport.bench.order_statistics import (
    CONFIDENCE,
    Outliers,
    PercentileInterval,
    count_outliers,
    design_effect,
    fewest_samples,
    fraction_bounds,
    percentile_interval,
    ranks,
    samples_to_decide,
)

TIMES = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=300)
PERCENTILES = st.floats(1, 99.9)

Draw = Callable[[np.random.Generator, tuple[int, int]], NDArray[np.float64]]

DISTRIBUTIONS: dict[str, tuple[Draw, Callable[[float], float]]] = {
    "uniform": (lambda random, shape: random.random(shape), lambda share: share),
    "exponential": (lambda random, shape: random.exponential(1, shape), lambda share: -np.log1p(-share)),
    "heavy tail": (lambda random, shape: random.pareto(1.2, shape), lambda share: (1 - share) ** (-1 / 1.2) - 1),
    "two speeds": (
        lambda random, shape: np.where(random.random(shape) < 0.7, random.random(shape), 10 + random.random(shape)),
        lambda share: share / 0.7 if share < 0.7 else 10 + (share - 0.7) / 0.3,
    ),
}
"""Samples, and the true percentile of a share."""


def holds(interval: PercentileInterval, value: float) -> bool:
    """An end that is missing is infinitely far."""
    return (interval.low is None or interval.low <= value) and (interval.high is None or value <= interval.high)


@pytest.mark.parametrize(
    ("samples", "wanted", "low", "high"),
    # Tables of the median: Conover, "Practical Nonparametric Statistics"; Le Boudec, appendix A.
    [(5, 50, None, None), (6, 50, 1, 6), (10, 50, 2, 9), (20, 50, 6, 15), (100, 50, 40, 61), (368, 99, 360, 368)],
)
def test_ranks_of_the_tables(samples: int, wanted: float, low: int | None, high: int | None) -> None:
    assert ranks(samples, wanted) == (low, high)


@given(st.integers(1, 3000), PERCENTILES)
def test_each_end_is_passed_in_two_and_a_half_per_cent_at_most(samples: int, wanted: float) -> None:
    low, high = ranks(samples, wanted)
    tail = (1 - CONFIDENCE) / 2 * (1 + 1e-9)
    below = binom(samples, wanted / 100)
    if low is not None:
        assert below.cdf(low - 1) <= tail < below.cdf(low)
    else:
        assert below.cdf(0) > tail * (1 - 1e-6)
    if high is not None:
        assert below.sf(high - 1) <= tail
        assert high == 1 or below.sf(high - 2) > tail * (1 - 1e-6)
    else:
        assert below.sf(samples - 1) > tail * (1 - 1e-6)


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from(sorted(DISTRIBUTIONS)),
    st.sampled_from([50.0, 90.0, 99.0]),
    st.sampled_from([6, 30, 400]),
    st.integers(0, 2**32),
)
def test_the_interval_holds_the_percentile_as_often_as_it_says(
    name: str, wanted: float, samples: int, seed: int
) -> None:
    draw, true = DISTRIBUTIONS[name]
    random = np.random.default_rng(seed)
    rounds, held, value = 300, 0, true(wanted / 100)
    for row in draw(random, (rounds, samples)):
        found = percentile_interval([part.tolist() for part in np.array_split(row, max(1, samples // 10))], wanted)
        held += holds(found, value)
    # A binomial number of 300 with 95 % is below 91 % once in a thousand.
    assert held / rounds >= 0.91


def test_slow_spells_make_the_interval_wider() -> None:
    # Each part is slow or quick as a whole: 30 parts of 40 samples are worth 30 samples, not 1200.
    random, held, naive = np.random.default_rng(7), 0, 0
    for _ in range(300):
        level = random.exponential(1, (30, 1))
        row = level + 1e-3 * random.random((30, 40))
        clustered = percentile_interval(row.tolist(), 50)
        single = percentile_interval([row.ravel().tolist()], 50)
        held += holds(clustered, np.log(2) + 5e-4)
        naive += holds(single, np.log(2) + 5e-4)
    assert held >= 0.91 * 300
    assert naive < 0.5 * 300


@given(TIMES, PERCENTILES)
def test_an_interval_holds_its_percentile_and_is_made_of_samples(samples: list[float], wanted: float) -> None:
    found = percentile_interval([samples], wanted)
    value = float(np.percentile(samples, wanted, method="inverted_cdf"))
    assert found.low is None or (found.low in samples and found.low <= value)
    assert found.high is None or (found.high in samples and found.high >= value)
    assert found.samples == found.effective == len(samples)


@pytest.mark.parametrize(("wanted", "fewest"), [(50, 6), (90, 36), (99, 368), (1, 368)])
def test_the_fewest_samples_that_give_both_ends(wanted: float, fewest: int) -> None:
    assert fewest_samples(wanted) == fewest
    assert None not in ranks(fewest, wanted)
    assert None in ranks(fewest - 1, wanted)


@given(st.integers(0, 200), st.integers(0, 200), st.floats(1, 20))
def test_bounds_of_a_fraction(true: int, others: int, effect: float) -> None:
    samples = true + others
    alone, clustered = fraction_bounds(true, samples), fraction_bounds(true, samples, effect=effect)
    share = true / samples if samples else 0.5
    assert 0 <= clustered.low <= alone.low + 1e-12
    assert alone.low - 1e-12 <= share <= alone.high + 1e-12
    assert alone.high <= clustered.high + 1e-12 <= 1 + 1e-12


def test_bounds_by_hand() -> None:
    # The rule of three: none of 300 is at most 1.22 % with two-sided 95 %.
    assert fraction_bounds(0, 300).high == pytest.approx(1 - 0.025 ** (1 / 300))
    assert fraction_bounds(300, 300).low == pytest.approx(0.025 ** (1 / 300))
    assert (fraction_bounds(0, 0).low, fraction_bounds(0, 0).high) == (0, 1)
    with pytest.raises(ValueError, match="from 0 to 2"):
        fraction_bounds(3, 2)


def test_the_design_effect() -> None:
    assert design_effect([[True, False]] * 20) == 1  # evener than chance
    assert design_effect([[True] * 10, [False] * 10] * 10) == 10
    assert design_effect([[True] * 10] * 5) == 1
    assert design_effect([[True], [False], [True], [True]]) == 1  # no parts of several
    assert design_effect([[True, True], [False, False]]) == 1  # too few parts
    assert design_effect([]) == 1


def test_the_samples_that_it_takes() -> None:
    assert samples_to_decide(0.5, 50) is None
    near, far = samples_to_decide(0.45, 50), samples_to_decide(0.1, 50)
    assert near is not None
    assert far is not None
    assert near > 300 > far >= fewest_samples(50)
    # So many do decide: the interval of a share of 45 % no longer holds one half.
    assert fraction_bounds(round(0.45 * near), near).high < 0.5 + 1e-3
    assert samples_to_decide(0.45, 50, effect=4) == pytest.approx(4 * near, abs=4)


def test_outliers_by_hand() -> None:
    # Quartiles 2 and 4: fences at -1 and 7, far ones at -4 and 10.
    assert count_outliers([1, 2, 3, 4, 5]) == Outliers(outside=0, far=0)
    assert count_outliers([1, 2, 2, 3, 4, 4, 7.1]) == Outliers(outside=1, far=0)
    assert count_outliers([3.0] * 9 + [3.1]) == Outliers(outside=1, far=1)
    with pytest.raises(ValueError, match="no samples"):
        count_outliers([])
    with pytest.raises(ValueError, match="no samples"):
        percentile_interval([], 50)


@given(TIMES, st.floats(0.1, 100))
def test_outliers_do_not_depend_on_the_unit(samples: list[float], unit: float) -> None:
    found = count_outliers(samples)
    assert 0 <= found.far <= found.outside < len(samples)
    doubled = count_outliers([2 * value for value in samples])
    assert doubled == found
