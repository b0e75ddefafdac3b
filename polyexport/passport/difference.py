"""The difference of one tensor on two providers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyexport.passport.tolerance import Tolerance

__all__ = ["Difference", "difference_of"]

_LEVELS = ("uint8", "int8")


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Difference of one tensor on two providers, on one input. Figures are of the values that are numbers on both."""

    shape: tuple[int, ...]
    """Shape of the tensor on the reference."""

    dtype: str
    """Type of its values in numpy's terms, such as ``float32``."""

    max_abs: float
    """Largest absolute difference."""

    mean_abs: float
    """Mean absolute difference."""

    relative: float
    """Largest absolute difference as a share of the range of the reference's values, with 0 in it."""

    index: tuple[int, ...]
    """Place of the largest difference."""

    unequal: float
    """Share of the values that are unequal."""

    not_finite: int
    """Number of values that are NaN or infinite on one of the two, or infinities of different signs."""

    other_shape: tuple[int, ...] | None = None
    """Shape on the other provider, if it is another; nothing else is compared then."""

    def exceeds(self, tolerance: Tolerance, *, alone: bool) -> bool:
        """Tell whether rounding does not explain the difference.

        Args:
            tolerance: Largest differences that it does.
            alone: Whether the node ran alone, on equal inputs.
        """
        if self.other_shape is not None or self.not_finite:
            return True
        if self.dtype in _LEVELS:
            return self.max_abs > (tolerance.levels_alone if alone else tolerance.levels)
        if self.dtype.startswith(("int", "uint", "bool")):
            return self.unequal > (0.0 if alone else tolerance.unequal)
        return self.relative > (tolerance.relative_alone if alone else tolerance.relative)

    def describe(self) -> str:
        """Return the difference in one line."""
        if self.other_shape is not None:
            return f"shape {list(self.other_shape)}, expected {list(self.shape)}"
        if self.not_finite:
            return f"{self.not_finite} values are NaN or infinite on one of them alone"
        if self.dtype.startswith(("int6", "int3", "uint6", "uint3", "bool")):
            return f"{self.unequal:.3%} of its values unequal"
        return f"off by up to {self.max_abs:.3g}, {self.relative:.2%} of the range, at {list(self.index)}"


def difference_of(expected: NDArray[Any], found: NDArray[Any]) -> Difference:
    """Compare a tensor on the reference with the one of the other provider.

    Args:
        expected: Values on the reference, of any shape and type of numbers.
        found: Values on the other provider.
    """
    shape = tuple(expected.shape)
    if found.shape != expected.shape:
        return Difference(
            shape=shape, dtype=expected.dtype.name, max_abs=0.0, mean_abs=0.0, relative=0.0, index=(), unequal=1.0,
            not_finite=0, other_shape=tuple(found.shape),
        )  # fmt: skip
    one, other = expected.astype(np.float64), found.astype(np.float64)
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    both = np.isfinite(one) & np.isfinite(other)
    with np.errstate(invalid="ignore"):
        error = np.where(both, np.abs(one - other), 0.0)
    largest = float(error.max(initial=0.0))
    place = np.unravel_index(int(error.argmax()), shape) if error.size and shape else ()
    finite = np.where(both, one, 0.0)
    span = float(finite.max(initial=0.0) - finite.min(initial=0.0))
    return Difference(
        shape=shape,
        dtype=expected.dtype.name,
        max_abs=largest,
        mean_abs=float(error.mean()) if error.size else 0.0,
        relative=largest / span if span else float(largest > 0),
        index=tuple(int(each) for each in place),
        unequal=float(np.count_nonzero(~same)) / max(1, error.size),
        not_finite=int(np.count_nonzero(~both & ~same)),
    )
