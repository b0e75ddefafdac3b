"""The entries of a contract that describe its conditions: one dataclass for each kind, checked when it is built."""

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from polyexport.imaging.color import COLOR_NAME
from polyexport.imaging.names import LABEL_NAME

__all__ = [
    "CONDITION_NAME",
    "MAX_EMBEDDING_DIM",
    "MAX_NUMBER",
    "MAX_VECTOR_DIM",
    "RESERVED_NAMES",
    "ColorFields",
    "ColorInput",
    "ConditionFields",
    "ConditionValue",
    "Embedding",
    "ImageFields",
    "LabelFields",
    "NumberFields",
    "Palette",
    "VectorFields",
]

MAX_EMBEDDING_DIM = 65_536
"""Largest number of values of an embedding."""

MAX_VECTOR_DIM = 4096
"""Largest number of values of a vector, which stands in texts and in the contract value by value."""

MAX_NUMBER = 1e9
"""Largest magnitude of a number."""

_MAX_UNIT = 16

CONDITION_NAME = re.compile(r"[a-z_][a-z0-9_]{0,63}")
"""Well-formed name of a condition, which is the name of a graph's input and of a field of a form."""

RESERVED_NAMES = frozenset(("background", "image", "polyexport_watch", "result", "result_as", "size"))
"""Names that no condition may have: the graph's other tensors, and the other fields of the service's form."""

Palette = tuple[tuple[str, tuple[int, int, int]], ...]
"""Names and sRGB values of the colors that a model knows, in index order."""

ColorInput = Literal["color", "embedding"]
"""Second input of the graph: the condition itself (``color``), or a vector that stands for it (``embedding``)."""

ConditionValue = int | tuple[int, int, int] | str | float
"""A value of a condition in a contract: an index into the palette or the labels, sRGB from 0 to 255, base64 of float32
[dim] or of a PNG, or a number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedding:
    """The source of the vectors in ``color_embedding``: a table, an encoder, or the caller alone.

    Raises:
        ValueError: sizes that do not fit together, text that is not base64, or another SHA-256 than ``sha256``.
    """

    dim: int
    """Number of values of each vector."""

    table: str = ""
    """Base64 of float32 [colors, dim], little-endian, one row for each name of the palette."""

    encoder: str = ""
    """Base64 of an ONNX model: ``color`` uint8 [batch, 3] -> ``color_embedding`` float32 [batch, dim]."""

    sha256: str = ""
    """SHA-256 of table and encoder, lowercase hex; computed if empty. The hash of the graph does not cover them,
    because they stand in the metadata."""

    def __post_init__(self) -> None:
        if not 1 <= self.dim <= MAX_EMBEDDING_DIM:
            raise ValueError(f"an embedding has 1 to {MAX_EMBEDDING_DIM} values, got {self.dim}")
        if self.table and self.encoder:
            raise ValueError("an embedding has a table or an encoder, not both")
        if len(base64.b64decode(self.table, validate=True)) % (4 * self.dim):
            raise ValueError(f"the embedding's table is not float32 [colors, {self.dim}]")
        base64.b64decode(self.encoder, validate=True)
        digest = hashlib.sha256(f"{self.table}\n{self.encoder}".encode()).hexdigest()
        if self.sha256 not in ("", digest):
            raise ValueError(
                f"the embedding was changed: it has SHA-256 {digest[:12]}..., expected {self.sha256[:12]}..."
            )
        object.__setattr__(self, "sha256", digest)

    @classmethod
    def from_table(cls, table: NDArray[np.float32]) -> "Embedding":
        """Make an embedding from its table, float32 [colors, dim]."""
        data = np.ascontiguousarray(table, dtype="<f4").tobytes()
        return cls(dim=table.shape[1], table=base64.b64encode(data).decode())

    def read_table(self) -> NDArray[np.float32]:
        """Return the table, float32 [colors, dim]; without rows if the embedding has none."""
        return np.frombuffer(base64.b64decode(self.table), dtype="<f4").reshape(-1, self.dim).astype(np.float32)

    @property
    def rows(self) -> int:
        """Number of rows of the table."""
        return len(base64.b64decode(self.table)) // (4 * self.dim)


@dataclass(frozen=True, kw_only=True, slots=True)
class ColorFields:
    """The entries of a contract that describe a color.

    Raises:
        ValueError: a palette that is none, or an embedding that does not fit to the other entries.
    """

    kind: Literal["color"] = "color"

    name: str = ""
    """Name of the graph's input; empty for ``color``, or ``color_embedding`` where it is an embedding."""

    conditioning: str
    """Form of the colors that the network was trained on: a key of ``COLOR_MODULES``."""

    palette: Palette = ()
    """Names and values of the colors that the model knows; empty if it has no list of colors."""

    color_input: ColorInput = "color"
    """Input of the graph: the color itself, or its embedding."""

    embedding: Embedding | None = None
    """Source of the vectors; None unless ``color_input`` is ``embedding``."""

    many_colors: bool = False
    """The graph takes several colors per image: this input and the output have a further axis, [batch, colors, ...]."""

    def __post_init__(self) -> None:
        _check_name(self.name or "color")
        if any(not 0 <= channel <= 255 for _, rgb in self.palette for channel in rgb):
            raise ValueError("palette values must be from 0 to 255")
        if len({name for name, _ in self.palette}) != len(self.palette):
            raise ValueError("palette names must be unique")
        if any(not COLOR_NAME.fullmatch(name) for name, _ in self.palette):
            raise ValueError("palette names must be letters, digits, spaces, dots and hyphens, up to 64")
        if self.color_input not in get_args(ColorInput) or (self.color_input == "embedding") != bool(self.embedding):
            raise ValueError(f"color_input {self.color_input!r} and the embedding do not agree")
        if self.embedding and self.embedding.rows != len(self.palette):
            raise ValueError(f"the embedding's table has {self.embedding.rows} rows for {len(self.palette)} names")


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelFields:
    """The entries of a contract that describe a label: one of a list of names, such as a style.

    Raises:
        ValueError: a name that cannot be used, or a default that is not among the labels.
    """

    kind: Literal["label"] = "label"
    name: str
    """Name of the graph's input."""

    labels: tuple[str, ...]
    """Names in index order."""

    default: str | None = None
    """Label of a call that gives none; None if every call has to give one."""

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not self.labels or len(set(self.labels)) != len(self.labels):
            raise ValueError(f"the labels of {self.name} must be one or more different names")
        for label in self.labels:
            if not LABEL_NAME.fullmatch(label):
                raise ValueError(
                    f"label {label[:80]!r} of {self.name} must be letters, digits, underscores, spaces, dots and "
                    "hyphens, up to 64, with a letter or digit at both ends"
                )
        if self.default is not None and self.default not in self.labels:
            raise ValueError(f"the default {self.default[:80]!r} of {self.name} is not one of its labels")


@dataclass(frozen=True, kw_only=True, slots=True)
class NumberFields:
    """The entries of a contract that describe a number, such as the strength of an effect.

    Raises:
        ValueError: bounds that do not rise, or a default outside of them.
    """

    kind: Literal["number"] = "number"
    name: str
    """Name of the graph's input."""

    minimum: float
    maximum: float
    default: float | None = None
    """Value of a call that gives none; None if every call has to give one."""

    unit: str = ""
    """Unit of the number, such as ``levels``; empty if it has none."""

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not np.isfinite([self.minimum, self.maximum]).all() or not self.minimum < self.maximum:
            raise ValueError(
                f"{self.name} must have a minimum below its maximum, got {self.minimum} and {self.maximum}"
            )
        if max(abs(self.minimum), abs(self.maximum)) > MAX_NUMBER:
            raise ValueError(f"{self.name} must stay within {MAX_NUMBER:g}, got {self.minimum} to {self.maximum}")
        if self.default is not None and not self.minimum <= self.default <= self.maximum:
            raise ValueError(f"the default {self.default} of {self.name} is not from {self.minimum} to {self.maximum}")
        if len(self.unit) > _MAX_UNIT or not self.unit.isprintable():
            raise ValueError(f"the unit of {self.name} must be up to {_MAX_UNIT} printable characters")


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorFields:
    """The entries of a contract that describe a vector of numbers, such as a style code.

    Raises:
        ValueError: a number of values that is not supported, or a default of another length.
    """

    kind: Literal["vector"] = "vector"
    name: str
    """Name of the graph's input."""

    dim: int
    """Number D of values."""

    default: tuple[float, ...] | None = None
    """Vector of a call that gives none; None if every call has to give one."""

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not 1 <= self.dim <= MAX_VECTOR_DIM:
            raise ValueError(f"{self.name} must have 1 to {MAX_VECTOR_DIM} values, got {self.dim}")
        if self.default is not None:
            if len(self.default) != self.dim:
                raise ValueError(f"the default of {self.name} has {len(self.default)} values, expected {self.dim}")
            if not np.isfinite(self.default).all() or max(map(abs, self.default)) > MAX_NUMBER:
                raise ValueError(f"the default of {self.name} must stay within {MAX_NUMBER:g}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFields:
    """The entries of a contract that describe a second picture of the image's size, such as a mask.

    Raises:
        ValueError: a number of channels other than 1, 3 or 4.
    """

    kind: Literal["image"] = "image"
    name: str
    """Name of the graph's input."""

    channels: int = 3
    """1 for gray and masks, 3 for RGB, 4 for RGBA."""

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.channels not in (1, 3, 4):
            raise ValueError(f"{self.name} must have 1, 3 or 4 channels, got {self.channels}")


ConditionFields = ColorFields | LabelFields | NumberFields | VectorFields | ImageFields
"""The entries of a contract that describe one condition, whose ``kind`` tells them apart."""


def _check_name(name: str) -> None:
    if not CONDITION_NAME.fullmatch(name) or name in RESERVED_NAMES:
        raise ValueError(
            f"a condition's name must be a lowercase identifier of up to 64 characters other than "
            f"{', '.join(sorted(RESERVED_NAMES))}, got {name[:80]!r}"
        )
