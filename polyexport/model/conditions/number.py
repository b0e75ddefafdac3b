"""The condition of a network that takes a number, such as the strength of an effect."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyexport.errors import UsageError
from polyexport.model.conditions.condition import Condition, ConditionRow
from polyexport.model.conditions.fields import ConditionValue, NumberFields

__all__ = ["CONDITION", "NumberCondition"]


class NumberCondition(Condition[NumberFields]):
    """A number between two bounds: a float32 scalar. ``parse`` returns a float."""

    summary = "a number"
    dtype = np.dtype(np.float32)
    row_shape = ()

    def __init__(self, fields: NumberFields) -> None:
        super().__init__(fields)
        self.default = fields.default
        self.meaning = f"{_text(fields.minimum)} to {_text(fields.maximum)}{f' {fields.unit}' if fields.unit else ''}"

    def parse(self, value: Any) -> float:
        """Read a number: text such as ``25`` or ``2.5e1``, an int or a float.

        Raises:
            UsageError: it is not a finite number between the bounds.
        """
        fields = self.fields
        try:
            number = float(value) if isinstance(value, str | int | float | np.number) else math.nan
        except (ValueError, OverflowError):
            number = math.nan
        if isinstance(value, bool) or not fields.minimum <= number <= fields.maximum:
            raise UsageError(
                f"{self.name} is {repr(value)[:60]}, expected a number from {_text(fields.minimum)} to "
                f"{_text(fields.maximum)}",
                remedy=f"give such a number, as in {self.name}={self.example()}",
            )
        return number + 0.0  # -0.0 becomes 0.0

    def value_of(self, value: float) -> ConditionValue:
        """Return the number."""
        return float(value)

    def encode(self, value: ConditionValue) -> ConditionRow:
        """Turn a number into a float32 scalar.

        Raises:
            ValueError: it is not a number between the bounds.
        """
        if type(value) not in (int, float) or not self.fields.minimum <= value <= self.fields.maximum:  # type: ignore[operator]
            raise ValueError(f"{repr(value)[:60]} is not a number within the bounds of {self.name}")
        return np.array(value, dtype=self.dtype)

    def folder(self, value: float) -> str:
        """Return the name and the number, such as ``sigma=25``."""
        return f"{self.name}={_text(value)}"

    def describe(self) -> str:
        """Return the bounds, and the default if there is one."""
        default = f"; {_text(self.default)} if none is given" if self.default is not None else ""
        return f"a number, {self.meaning}{default}"

    def describe_value(self, value: ConditionValue) -> str:
        """Return the number."""
        return f"`{_text(float(value))}`" if isinstance(value, int | float) else ""

    def example(self) -> str:
        """Return the default, or a round number in the middle of the bounds."""
        if self.default is not None:
            return _text(self.default)
        middle = (self.fields.minimum + self.fields.maximum) / 2
        rounded = float(f"{middle:.1g}")
        return _text(rounded if self.fields.minimum <= rounded <= self.fields.maximum else middle)

    def golden_values(self) -> Sequence[ConditionValue]:
        """Return numbers from the whole range; the first is a quarter above the minimum."""
        low, high = self.fields.minimum, self.fields.maximum
        return [low + share * (high - low) for share in (0.25, 1.0, 0.5, 0.0, 0.75)]

    def proof_rows(self) -> NDArray[np.float32]:
        """Return numbers from the whole range, float32 [K]; both ends are among them."""
        low, high = self.fields.minimum, self.fields.maximum
        shares = (0.0, 1.0, 0.5, 0.25) if self.default is None else (0.0, 1.0, 0.5)
        found = [low + share * (high - low) for share in shares]
        return np.array(found if self.default is None else [self.default, *found], dtype=np.float32)


def _text(number: float) -> str:
    """Return a number as text, without a fraction if it is whole."""
    return str(int(number)) if float(number).is_integer() and abs(number) < 1e15 else repr(float(number))


CONDITION = NumberCondition
