"""The entries of a contract that describe its condition, checked as far as that does not depend on the kind."""

import base64
import hashlib
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from polyexport.imaging.color import COLOR_NAME

__all__ = ["MAX_EMBEDDING_DIM", "ColorInput", "ConditionFields", "ConditionValue", "Embedding", "Palette"]

MAX_EMBEDDING_DIM = 65_536
"""Largest number of values of an embedding."""

Palette = tuple[tuple[str, tuple[int, int, int]], ...]
"""Names and sRGB values of the colors that a model knows, in index order."""

ColorInput = Literal["color", "embedding"]
"""Second input of the graph: the condition itself (``color``), or a vector that stands for it (``embedding``)."""

ConditionValue = int | tuple[int, int, int] | str
"""A value of a condition in a contract: an index into the palette, sRGB from 0 to 255, or base64 of float32 [dim]."""


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
class ConditionFields:
    """The entries of a contract that describe its condition.

    Raises:
        ValueError: a palette that is none, or an embedding that does not fit to the other entries.
    """

    conditioning: str
    """Kind of condition that the network was trained on: a key of ``CONDITION_MODULES``."""

    palette: Palette = ()
    """Names and values of the colors that the model knows; empty if it has no list of colors."""

    color_input: ColorInput = "color"
    """Second input of the graph: the condition itself, or its embedding."""

    embedding: Embedding | None = None
    """Source of the vectors; None unless ``color_input`` is ``embedding``."""

    many_colors: bool = False
    """The input has a further axis, [batch, colors, ...]."""

    def __post_init__(self) -> None:
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
