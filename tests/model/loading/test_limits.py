import math

import pytest

from polyexport.model.loading.limits import DEFAULT_LIMITS, GrantedLimits, LoadLimits

MB = 1_000_000


def test_the_limits_grow_with_the_file() -> None:
    small, base = (DEFAULT_LIMITS.granted(size * MB) for size in (8, 126))
    assert (small.seconds, base.seconds) == pytest.approx((3.32, 8.04))
    assert (small.memory_mib, base.memory_mib) == (256 + 61, 256 + 961)
    assert small.wall_s > small.seconds


def test_what_a_user_gives_counts() -> None:
    assert LoadLimits(seconds=60, memory_mib=100).granted(999 * MB) == GrantedLimits(seconds=60, memory_mib=100)
    assert LoadLimits(seconds=60).granted(0) == GrantedLimits(seconds=60, memory_mib=256)


@pytest.mark.parametrize("values", [{"seconds": -1}, {"seconds": math.nan}, {"seconds": 1e6}, {"memory_mib": -1}])
def test_impossible_limits_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be 0 to"):
        LoadLimits(**values)  # type: ignore[arg-type]


def test_a_file_that_kept_narrow_limits_keeps_wider_ones() -> None:
    narrow, wide = GrantedLimits(seconds=1, memory_mib=10), GrantedLimits(seconds=2, memory_mib=10)
    assert wide.allows(narrow)
    assert narrow.allows(narrow)
    assert not narrow.allows(wide)
    assert not narrow.allows(GrantedLimits(seconds=1, memory_mib=11))
