"""The condition of a network that takes any 24-bit color."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polyexport.imaging.color import Color, parse_color
from polyexport.model.conditions.color_condition import ColorCondition, ColorLike
from polyexport.model.conditions.condition import ConditionRow
from polyexport.model.conditions.fields import ColorFields, ConditionValue

__all__ = ["CONDITION", "RgbCondition"]

_EXAMPLE = (255, 136, 0)
_FURTHER_GOLDEN_COLORS = ("blue", "white", "#1f7a3c", "#c0c8d0", "#4b0f2e")

# Corners of the color cube, middle tones, and both ends of every channel.
_PROOF_COLORS = ("red", "lime", "black", "orange", "#7f8081")


class RgbCondition(ColorCondition):
    """Any 24-bit color: uint8 [3], sRGB from 0 to 255."""

    kind = "rgb"
    summary = "any 24-bit color"
    meaning = "sRGB, 0 to 255"
    dtype = np.dtype(np.uint8)
    row_shape = (3,)

    def __init__(self, fields: ColorFields) -> None:
        super().__init__(fields)
        if fields.palette:
            raise ValueError("a palette belongs to a list of colors, and rgb conditioning takes any color")

    def value_of(self, color: Color) -> ConditionValue:
        """Return the sRGB values of a color."""
        return color.rgb

    def encode(self, value: ConditionValue) -> ConditionRow:
        """Turn sRGB values into uint8 [3]."""
        return np.array(value, dtype=self.dtype)

    def fill_color(self, value: ColorLike) -> tuple[int, int, int]:
        """Return the sRGB values of a color."""
        return self.parse(value).rgb

    def describe(self) -> str:
        """Return one line about the values that the model takes."""
        return "any"

    def describe_value(self, value: ConditionValue) -> str:
        """Return sRGB values as hexadecimal digits."""
        assert isinstance(value, tuple)
        return f"`#{bytes(value).hex()}`"

    def example(self) -> str:
        """Return a color in hexadecimal digits."""
        return f"#{bytes(_EXAMPLE).hex()}"

    def golden_values(self) -> Sequence[ConditionValue]:
        """Return the sRGB values of the golden samples of a new export, from dark to light."""
        return (_EXAMPLE, *(parse_color(name).rgb for name in _FURTHER_GOLDEN_COLORS))

    def proof_rows(self) -> NDArray[np.uint8]:
        """Return the colors on which an export is compared with its network, uint8 [5, 3]."""
        return np.array([parse_color(name).rgb for name in _PROOF_COLORS], dtype=np.uint8)

    def drawing_row(self, rgb: tuple[int, int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Return the color of a generated drawing, uint8 [1, 3]."""
        return np.array([rgb], dtype=np.uint8)


CONDITION = RgbCondition
