"""The base class of the kinds of condition."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from polyexport.model.conditions.fields import ConditionFields, ConditionValue
from polyexport.runtime.session import TensorType

__all__ = ["Condition", "ConditionRow"]

ConditionRow = NDArray[Any]
"""The value of a condition for one image, as the graph takes it: an array of ``row_shape`` and ``dtype``."""

_ONNX_TYPES = {"uint8": "tensor(uint8)", "int64": "tensor(int64)", "float32": "tensor(float)"}

Fields = TypeVar("Fields", bound=ConditionFields)


class Condition(ABC, Generic[Fields]):
    """One kind of condition: how its values are read, checked, encoded and described.

    A value has three forms. What callers give, text or Python objects, is read by ``parse`` into a hashable object. A
    contract holds it as ``value_of`` gives it. The graph takes it as ``encode`` gives it, one row for each image.

    It is safe to call from several threads. Building one is cheap: what takes time, such as loading an encoder, waits
    for the first value or for ``open``.

    Raises:
        ValueError: entries of the contract that this kind does not allow.
    """

    textual: ClassVar[bool] = True
    """Whether a text gives a value; a second picture is given by its path instead, one for each image."""

    summary: ClassVar[str]
    """Values that the network was trained on, in a few words for the model card."""

    name: str
    """Name of the graph's input."""

    dtype: np.dtype[Any]
    """Type of the input's values."""

    row_shape: tuple[int | str, ...]
    """Shape of the input without the axis of the batch; a name where the extent is free."""

    meaning: str
    """Content of the input, in a few words for the table of tensors."""

    default: Any = None
    """Value, as ``parse`` returns it, of a call that gives none; None if every call has to give one."""

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.name = fields.name

    @property
    def axes(self) -> tuple[str | int, ...]:
        """Shape of the input without the axis of the batch; a name where the extent is free."""
        return self.row_shape

    @property
    def tensor_type(self) -> TensorType:
        """Type and shape of the graph's input, in ONNX Runtime's terms."""
        free = tuple(None if isinstance(extent, str) else extent for extent in self.axes)
        return TensorType(_ONNX_TYPES[self.dtype.name], (None, *free))

    def open(self) -> None:
        """Load what the condition needs to encode values, so that a fault shows now and not at the first image.

        Raises:
            ContractError: an encoder in the contract that is not what the contract says.
        """

    @abstractmethod
    def parse(self, value: Any) -> Any:
        """Read a value: text, or the Python object that it means. The result is hashable, and ``parse`` keeps it.

        Raises:
            UsageError: it is not a value of this condition; the remedy says what is.
        """

    @abstractmethod
    def value_of(self, value: Any) -> ConditionValue:
        """Return the form in which a contract holds a value that ``parse`` returned.

        Raises:
            UsageError: a value that the model does not know; the remedy names others.
        """

    @abstractmethod
    def encode(self, value: ConditionValue) -> ConditionRow:
        """Turn a value from a contract into one row of the graph's input. The caller must not change the array.

        Raises:
            ValueError: a value of another kind of condition. Other errors of numpy and ONNX Runtime come out as well.
        """

    def row(self, value: Any) -> ConditionRow:
        """Turn a value into one row of the graph's input. The caller must not change the array.

        Raises:
            UsageError: it is not a value of this condition, or one that the model does not know.
        """
        return self.encode(self.value_of(self.parse(value)))

    def recipe(self, value: Any) -> Any:
        """Return what stands for a value in the recipe of an output, a JSON value.

        Two values with the same recipe give the same pixels.

        Raises:
            UsageError: it is not a value of this condition, or one that the model does not know.
        """
        return self.row(value).tolist()

    @abstractmethod
    def folder(self, value: Any) -> str:
        """Return a part of the name of an output's folder for a value that ``parse`` returned."""

    @abstractmethod
    def describe(self) -> str:
        """Return one line about the values that the model takes."""

    @abstractmethod
    def describe_value(self, value: ConditionValue) -> str:
        """Return a value from a contract as Markdown."""

    @abstractmethod
    def example(self) -> str | None:
        """Return a value that the model takes, as one word for a shell; None if no text gives one."""

    @abstractmethod
    def golden_values(self) -> Sequence[ConditionValue]:
        """Return values for the golden samples of a new export, one or more. Every load repeats a sample of the first.

        They lie apart from each other, so that a graph that is right for one of them is not right for all by chance.
        """

    @abstractmethod
    def proof_rows(self) -> NDArray[Any]:
        """Return the values on which an export is compared with its network, [K, ...], as the network takes them."""
