"""The condition of a network that takes a vector of numbers, such as a style code."""

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyexport.errors import UsageError
from polyexport.model.conditions.condition import Condition, ConditionRow
from polyexport.model.conditions.fields import MAX_NUMBER, ConditionValue, VectorFields

__all__ = ["CONDITION", "VectorCondition"]

_PROOF_VECTORS = 4
_SEED = 7


class VectorCondition(Condition[VectorFields]):
    """A vector: float32 [D]. ``parse`` returns a tuple of floats."""

    summary = "a vector of numbers"
    meaning = "values as the network was trained on them"
    dtype = np.dtype(np.float32)

    def __init__(self, fields: VectorFields) -> None:
        super().__init__(fields)
        self.row_shape = (fields.dim,)
        self.default = fields.default

    def parse(self, value: Any) -> tuple[float, ...]:
        """Read a vector: text such as ``0.5,-1,2``, or a sequence of numbers.

        Raises:
            UsageError: it does not have the vector's number of finite values.
        """
        try:
            parts = value.split(",") if isinstance(value, str) else list(value)
            numbers = tuple(float(part) for part in parts)
        except (TypeError, ValueError, OverflowError):
            numbers = ()
        if len(numbers) != self.fields.dim or not all(abs(number) <= MAX_NUMBER for number in numbers):
            raise UsageError(
                f"{self.name} is {repr(value)[:60]}, expected {self.fields.dim} numbers",
                remedy=f"give them with commas between them, as in {self.name}={self.example()}",
            )
        return numbers

    def value_of(self, value: tuple[float, ...]) -> ConditionValue:
        """Return base64 of the values, float32, little-endian."""
        return base64.b64encode(np.array(value, dtype="<f4").tobytes()).decode()

    def encode(self, value: ConditionValue) -> ConditionRow:
        """Turn base64 into float32 [D].

        Raises:
            ValueError: it does not hold D finite values.
        """
        row = np.frombuffer(base64.b64decode(value, validate=True) if isinstance(value, str) else b"", dtype="<f4")
        if row.shape != self.row_shape or not np.isfinite(row).all():
            raise ValueError(f"a value of {self.name} is not base64 of {self.fields.dim} finite float32 values")
        return row.astype(self.dtype)

    def folder(self, value: tuple[float, ...]) -> str:
        """Return the name and the values if they are few, or else the start of their SHA-256."""
        text = " ".join(f"{number:g}" for number in value)
        if len(text) > 32 or tuple(float(f"{number:g}") for number in value) != value:
            text = hashlib.sha256(np.array(value, dtype="<f4").tobytes()).hexdigest()[:12]
        return f"{self.name}={text}"

    def describe(self) -> str:
        """Return the number of values, and whether there is a default."""
        default = "; a default if none is given" if self.default is not None else ""
        return f"a vector of {self.fields.dim} numbers{default}"

    def describe_value(self, value: ConditionValue) -> str:
        """Return the first values of a vector."""
        row = self.encode(value)
        return ", ".join(f"{number:.4g}" for number in row[:4]) + (", ..." if len(row) > 4 else "")

    def example(self) -> str:
        """Return the first values of a vector, as far as a line has space for them."""
        shown = min(self.fields.dim, 4)
        return ",".join(str(number / 2) for number in range(shown)) + (",..." if shown < self.fields.dim else "")

    def golden_values(self) -> Sequence[ConditionValue]:
        """Return base64 of random vectors."""
        return [self.value_of(tuple(row.tolist())) for row in self.proof_rows()]

    def proof_rows(self) -> NDArray[np.float32]:
        """Return random vectors, float32 [K, D], drawn from the normal distribution; the default is the first."""
        rows = np.random.default_rng(_SEED).standard_normal((_PROOF_VECTORS, self.fields.dim), dtype=np.float32)
        if self.default is not None:
            rows[0] = self.default
        return rows


CONDITION = VectorCondition
