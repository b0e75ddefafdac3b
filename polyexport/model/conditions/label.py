"""The condition of a network that takes one of a list of names, such as a style."""

import difflib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyexport.errors import UsageError
from polyexport.model.conditions.condition import Condition, ConditionRow
from polyexport.model.conditions.fields import ConditionValue, LabelFields

__all__ = ["CONDITION", "LabelCondition"]

_SHOWN_LABELS = 12
_GOLDEN_LABELS = 6
_PROOF_LABELS = 8


class LabelCondition(Condition[LabelFields]):
    """One of a list of names: an int64 scalar, the index of the name. ``parse`` returns the name."""

    summary = "one of a list of labels"
    meaning = "index into the labels"
    dtype = np.dtype(np.int64)
    row_shape = ()

    def __init__(self, fields: LabelFields) -> None:
        super().__init__(fields)
        self.default = fields.default
        self._folded = {label.casefold(): label for label in reversed(fields.labels)}

    def parse(self, value: Any) -> str:
        """Read a label: its name, in any case if no other label differs in case alone, or its index as an int.

        Raises:
            UsageError: there is no such label; the remedy names the nearest.
        """
        labels = self.fields.labels
        if isinstance(value, str):
            name = value.strip()
            if name in labels:
                return name
            if name.casefold() in self._folded:
                return self._folded[name.casefold()]
            near = difflib.get_close_matches(name[:64], labels, n=3) or labels[:3]
        elif type(value) is int and 0 <= value < len(labels):
            return labels[value]
        else:
            near = list(labels[:3])
        raise UsageError(
            f"{self.name} is {repr(value)[:70]}, which is not one of its {len(labels)} labels",
            remedy=f"give one of them, such as {', '.join(near)}",
        )

    def value_of(self, value: str) -> ConditionValue:
        """Return the index of a label."""
        return self.fields.labels.index(value)

    def encode(self, value: ConditionValue) -> ConditionRow:
        """Turn an index into an int64 scalar.

        Raises:
            ValueError: an index that no label has.
        """
        if type(value) is not int or not 0 <= value < len(self.fields.labels):
            raise ValueError(f"{repr(value)[:60]} is not the index of a label of {self.name}")
        return np.array(value, dtype=self.dtype)

    def folder(self, value: str) -> str:
        """Return the label."""
        return value

    def describe(self) -> str:
        """Return the number of the labels and the first of their names."""
        labels = self.fields.labels
        more = len(labels) - _SHOWN_LABELS
        known = ", ".join(labels[:_SHOWN_LABELS])
        default = f"; {self.default} if none is given" if self.default is not None else ""
        return f"one of {len(labels)}: {known}{f' and {more} more, see --json' if more > 0 else ''}{default}"

    def describe_value(self, value: ConditionValue) -> str:
        """Return the label of an index."""
        assert isinstance(value, int)
        return f"`{self.fields.labels[value]}`"

    def example(self) -> str:
        """Return the first label, or the first after the default."""
        label = next((label for label in self.fields.labels if label != self.default), self.fields.labels[0])
        return f"'{label}'" if " " in label else label

    def golden_values(self) -> Sequence[ConditionValue]:
        """Return indices from the whole list, the first one first."""
        return _spread(len(self.fields.labels), _GOLDEN_LABELS)

    def proof_rows(self) -> NDArray[np.int64]:
        """Return indices from the whole list, int64 [K]; both ends are among them."""
        return np.array(_spread(len(self.fields.labels), _PROOF_LABELS), dtype=np.int64)


def _spread(count: int, wanted: int) -> list[int]:
    """Return up to ``wanted`` different indices below ``count``, evenly spread, both ends included."""
    return sorted({round(number * (count - 1) / (wanted - 1)) for number in range(wanted)})


CONDITION = LabelCondition
