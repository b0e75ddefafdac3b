"""The base class of the ways to give a color, and the names of the input that carries one."""

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from polyexport.imaging.color import Color, color_of
from polyexport.model.conditions.condition import Condition
from polyexport.model.conditions.fields import ColorFields, ConditionValue

__all__ = ["COLOR_INPUT", "EMBEDDING_INPUT", "ColorCondition", "ColorLike"]

COLOR_INPUT = "color"
"""Name of the graph's input that is a color, unless the contract has another."""

EMBEDDING_INPUT = "color_embedding"
"""Name of the graph's input that is the embedding of a color, unless the contract has another."""

ColorLike = Color | str | tuple[int, int, int]
"""A color as callers give it: a ``Color``, text, or sRGB from 0 to 255."""


class ColorCondition(Condition[ColorFields]):
    """A color. ``parse`` returns a ``Color``."""

    kind: ClassVar[str]
    """Name in the registry, and value of ``conditioning`` in a contract."""

    default_name: ClassVar[str] = COLOR_INPUT
    """Name of the graph's input where the contract has none."""

    def __init__(self, fields: ColorFields) -> None:
        super().__init__(fields)
        self.name = fields.name or self.default_name
        self._values = dict(fields.palette)

    @property
    def trained(self) -> "ColorCondition":
        """The condition that the network was trained on: this one, or the one that an embedding stands for."""
        return self

    @property
    def axes(self) -> tuple[str | int, ...]:
        """Shape of the input without the axis of the batch; a name where the extent is free."""
        return (*(("colors",) if self.fields.many_colors else ()), *self.row_shape)

    def parse(self, value: ColorLike) -> Color:
        """Read a color: a name in the palette of the model, or anything that ``polyexport.imaging.color`` reads.

        Raises:
            ColorError: it names no color.
        """
        if isinstance(value, str) and (name := value.strip().lower()) in self._values:
            return Color(name, self._values[name])
        return color_of(value)

    @abstractmethod
    def value_of(self, color: Color) -> ConditionValue:
        """Return the value that stands for a color in a contract.

        Raises:
            ColorError: a color that the model does not know; the remedy names others.
        """

    def folder(self, value: Color) -> str:
        """Return the name of a color."""
        return value.name

    def fill_color(self, value: ColorLike) -> tuple[int, int, int] | None:
        """Return the sRGB values, 0 to 255, in which the model fills for a color; None if they cannot be known.

        Raises:
            ColorError: it names no color, or one that the model does not know.
        """
        return None

    def encode_trained(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Turn conditions as the network was trained on them, [K, ...], into rows of the graph's input, [K, ...]."""
        return rows

    @abstractmethod
    def drawing_row(self, rgb: tuple[int, int, int], rng: np.random.Generator) -> NDArray[Any]:
        """Return the condition for a generated drawing, [1, ...], as the network was trained on it.

        Args:
            rgb: color of the drawing; a value of the palette if the model has one.
            rng: source of a condition that no color determines.
        """
