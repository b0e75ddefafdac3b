"""The difference of two tensors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from polyexport.passport.difference import difference_of
from polyexport.passport.tolerance import tolerance_for

LIMIT = tolerance_for("fp32", 23)
FLOATS = arrays.arrays(np.float32, arrays.array_shapes(max_dims=4, max_side=4), elements=st.floats(width=32))


@given(FLOATS)
def test_a_tensor_equals_itself(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    one = difference_of(values, values.copy())
    assert (one.max_abs, one.mean_abs, one.relative, one.unequal, one.not_finite) == (0, 0, 0, 0, 0)
    assert one.shape == values.shape
    assert not one.exceeds(LIMIT, alone=True)


@given(FLOATS, st.data())
def test_one_changed_value_is_found_where_it_is(
    values: np.ndarray[tuple[int, ...], np.dtype[np.float32]], data: st.DataObject
) -> None:
    values = np.clip(np.nan_to_num(values), -1, 1)
    place = tuple(data.draw(st.integers(0, side - 1)) for side in values.shape)
    other = values.copy()
    other[place] += 1
    one = difference_of(values, other)
    assert one.index == place
    assert one.max_abs == pytest.approx(1)
    assert one.unequal == pytest.approx(1 / values.size)
    assert one.exceeds(LIMIT, alone=False)
    assert str(list(place)) in one.describe()


def test_the_share_is_of_the_range_with_zero_in_it() -> None:
    assert difference_of(np.array([100.0, 101.0]), np.array([100.0, 102.0])).relative == pytest.approx(1 / 101)
    assert difference_of(np.array([-2.0, 2.0]), np.array([-2.0, 1.0])).relative == pytest.approx(0.25)
    assert difference_of(np.zeros(2), np.ones(2)).relative == 1


def test_numbers_that_are_none() -> None:
    nan, inf = float("nan"), float("inf")
    same = difference_of(np.array([nan, inf, -inf, 1]), np.array([nan, inf, -inf, 1]))
    assert (same.not_finite, same.max_abs) == (0, 0)
    other = difference_of(np.array([nan, inf, 1, 1]), np.array([1, -inf, nan, 2]))
    assert (other.not_finite, other.max_abs) == (3, 1)
    assert "3 values are NaN or infinite" in other.describe()


def test_another_shape_exceeds_everything() -> None:
    one = difference_of(np.zeros((1, 3)), np.zeros((3, 1)))
    assert one.exceeds(LIMIT, alone=False)
    assert one.describe() == "shape [3, 1], expected [1, 3]"


def test_levels_and_integers_have_limits_of_their_own() -> None:
    levels = np.arange(256, dtype=np.uint8)
    off = levels.copy()
    off[7] += 1
    assert not difference_of(levels, off).exceeds(LIMIT, alone=True)
    off[7] += 1
    assert difference_of(levels, off).exceeds(LIMIT, alone=True)
    for kind in (np.int64, np.int32, np.bool_):
        values = np.ones(10_000, kind)
        other = values.copy()
        other[3] = 0
        one = difference_of(values, other)
        assert one.exceeds(LIMIT, alone=True)
        assert not one.exceeds(LIMIT, alone=False)
        assert "0.010% of its values unequal" in one.describe()


def test_an_empty_tensor_and_a_scalar() -> None:
    assert difference_of(np.zeros((0, 3)), np.zeros((0, 3))).max_abs == 0
    assert difference_of(np.array(1.0), np.array(2.0)).index == ()
