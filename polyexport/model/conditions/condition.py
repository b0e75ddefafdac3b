"""The base class of the kinds of condition, and the names of the input that carries one."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from polyexport.imaging.color import Color, color_of
from polyexport.model.conditions.fields import ConditionFields, ConditionValue
from polyexport.runtime.session import TensorType

__all__ = ["COLOR_INPUT", "EMBEDDING_INPUT", "ColorLike", "Condition", "ConditionRow"]

COLOR_INPUT = "color"
"""Name of the graph's second input where it is a color."""

EMBEDDING_INPUT = "color_embedding"
"""Name of the graph's second input where it is the embedding of a color."""

ColorLike = Color | str | tuple[int, int, int]
"""A color as callers give it: a ``Color``, text, or sRGB from 0 to 255."""

ConditionRow = NDArray[Any]
"""The value of a condition for one image, as the graph takes it: an array of ``row_shape`` and ``dtype``."""

_ONNX_TYPES = {"uint8": "tensor(uint8)", "int64": "tensor(int64)", "float32": "tensor(float)"}


class Condition(ABC):
    """One kind of condition: how its values are read, checked, encoded and described.

    It is safe to call from several threads. Building one is cheap: what takes time, such as loading an encoder, waits
    for the first value or for ``open``.

    Raises:
        ValueError: entries of the contract that this kind does not allow.
    """

    kind: ClassVar[str]
    """Name in the registry, and value of ``conditioning`` in a contract."""

    summary: ClassVar[str]
    """Values that the network was trained on, in a few words for the model card."""

    name: str = COLOR_INPUT
    """Name of the graph's input."""

    dtype: np.dtype[Any]
    """Type of the input's values."""

    row_shape: tuple[int, ...]
    """Shape of the input without the axis of the batch and that of the colors."""

    meaning: str
    """Content of the input, in a few words for the table of tensors."""

    def __init__(self, fields: ConditionFields) -> None:
        self.fields = fields
        self._values = dict(fields.palette)

    @property
    def trained(self) -> "Condition":
        """The condition that the network was trained on: this one, or the one that an embedding stands for."""
        return self

    @property
    def axes(self) -> tuple[str | int, ...]:
        """Shape of the input without the axis of the batch; a name where the extent is free."""
        return (*(("colors",) if self.fields.many_colors else ()), *self.row_shape)

    @property
    def tensor_type(self) -> TensorType:
        """Type and shape of the graph's input, in ONNX Runtime's terms."""
        free = tuple(None if isinstance(extent, str) else extent for extent in self.axes)
        return TensorType(_ONNX_TYPES[self.dtype.name], (None, *free))

    def open(self) -> None:  # noqa: B027 - most kinds have nothing to load
        """Load what the condition needs to encode values, so that a fault shows now and not at the first image.

        Raises:
            ContractError: an encoder in the contract that is not what the contract says.
        """

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

    @abstractmethod
    def encode(self, value: ConditionValue) -> ConditionRow:
        """Turn a value from a contract into one row of the graph's input. The caller must not change the array.

        Raises:
            ValueError: a value of another kind of condition. Other errors of numpy and ONNX Runtime come out as well.
        """

    def row(self, value: ColorLike) -> ConditionRow:
        """Turn a color into one row of the graph's input. The caller must not change the array.

        Raises:
            ColorError: it names no color, or one that the model does not know.
        """
        return self.encode(self.value_of(self.parse(value)))

    def fill_color(self, value: ColorLike) -> tuple[int, int, int] | None:
        """Return the sRGB values, 0 to 255, in which the model fills for a color; None if they cannot be known.

        Raises:
            ColorError: it names no color, or one that the model does not know.
        """
        return None

    def recipe(self, value: ColorLike) -> Any:
        """Return what stands for a color in the recipe of an output, a JSON value.

        Two colors with the same recipe give the same pixels.

        Raises:
            ColorError: it names no color, or one that the model does not know.
        """
        return self.row(value).tolist()

    def encode_trained(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Turn conditions as the network was trained on them, [K, ...], into rows of the graph's input, [K, ...]."""
        return rows

    @abstractmethod
    def describe(self) -> str:
        """Return one line about the values that the model takes."""

    @abstractmethod
    def describe_value(self, value: ConditionValue) -> str:
        """Return a value from a contract as Markdown."""

    @abstractmethod
    def example(self) -> str | None:
        """Return a color that the model takes, as one word for a shell; None if it takes no color by name."""

    @abstractmethod
    def golden_values(self) -> Sequence[ConditionValue]:
        """Return values for the golden samples of a new export, one or more. Every load repeats a sample of the first.

        They lie apart from each other, so that a graph that is right for one of them is not right for all by chance.
        """

    @abstractmethod
    def proof_rows(self) -> NDArray[Any]:
        """Return the conditions on which an export is compared with its network, [K, ...], as ``trained`` has them."""

    @abstractmethod
    def drawing_row(self, rgb: tuple[int, int, int], rng: np.random.Generator) -> NDArray[Any]:
        """Return the condition for a generated drawing, [1, ...], as the network was trained on it.

        Args:
            rgb: color of the drawing; a value of the palette if the model has one.
            rng: source of a condition that no color determines.
        """
