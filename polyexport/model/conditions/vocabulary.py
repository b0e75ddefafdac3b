"""The condition of a network that knows a list of named colors, its vocabulary."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polyexport.errors import ColorError
from polyexport.imaging.color import Color
from polyexport.model.conditions.color_condition import ColorCondition, ColorLike
from polyexport.model.conditions.condition import ConditionRow
from polyexport.model.conditions.fields import ColorFields, ConditionValue

__all__ = ["CONDITION", "VocabularyCondition"]

_SHOWN_COLORS = 12
_GOLDEN_COLORS = 6


class VocabularyCondition(ColorCondition):
    """One of the colors in the palette: an int64 scalar, the index of the color."""

    kind = "vocabulary"
    summary = "one of a list of colors, below"
    meaning = "index into the palette"
    dtype = np.dtype(np.int64)
    row_shape = ()

    def __init__(self, fields: ColorFields) -> None:
        super().__init__(fields)
        if not fields.palette:
            raise ValueError("a palette belongs to vocabulary conditioning, and there is none")
        self._names = [name for name, _ in fields.palette]
        self._rgb = [rgb for _, rgb in fields.palette]

    def value_of(self, color: Color) -> ConditionValue:
        """Return the index of a color in the palette, found by its name or else by its sRGB values.

        Raises:
            ColorError: the palette does not hold the color; the remedy names the nearest that it holds.
        """
        if color.name in self._names:
            return self._names.index(color.name)
        if color.rgb in self._rgb:
            return self._rgb.index(color.rgb)
        distance = np.abs(np.array(self._rgb) - np.array(color.rgb)).sum(axis=1)
        nearest = ", ".join(self._names[i] for i in np.argsort(distance, kind="stable")[:3])
        raise ColorError(
            f"color {color} is not one of this model's {len(self._names)}", remedy=f"the nearest are {nearest}"
        )

    def encode(self, value: ConditionValue) -> ConditionRow:
        """Turn an index into an int64 scalar."""
        return np.array(value, dtype=self.dtype)

    def fill_color(self, value: ColorLike) -> tuple[int, int, int]:
        """Return the sRGB values of a color in the palette.

        Raises:
            ColorError: the palette does not hold the color.
        """
        index = self.value_of(self.parse(value))
        assert isinstance(index, int)
        return self._rgb[index]

    def describe(self) -> str:
        """Return the number of the colors and the first of their names."""
        known = ", ".join(self._names[:_SHOWN_COLORS])
        more = len(self._names) - _SHOWN_COLORS
        return f"{len(self._names)}: {known}{f' and {more} more, see --json' if more > 0 else ''}"

    def describe_value(self, value: ConditionValue) -> str:
        """Return an index in words."""
        return f"index {value}"

    def example(self) -> str:
        """Return the first color of the palette in hexadecimal digits."""
        return f"#{bytes(self._rgb[0]).hex()}"

    def golden_values(self) -> Sequence[ConditionValue]:
        """Return indices from the whole palette, the first one first."""
        count = len(self._names)
        return sorted({index * count // _GOLDEN_COLORS for index in range(_GOLDEN_COLORS)})

    def proof_rows(self) -> NDArray[np.int64]:
        """Return all indices, int64 [colors]."""
        return np.arange(len(self._names), dtype=np.int64)

    def drawing_row(self, rgb: tuple[int, int, int], rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the index of a drawing's color, int64 [1]."""
        return np.array([self._rgb.index(rgb)], dtype=np.int64)


CONDITION = VocabularyCondition
