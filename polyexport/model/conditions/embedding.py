"""The condition of a graph that takes vectors which stand for colors.

The network was trained on colors, and the graph takes the embedding of one in place of the color; or the network was
trained on vectors, with or without a table that says which vector stands for which color.
"""

import base64
import functools
import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polyexport.errors import ColorError, ContractError
from polyexport.imaging.color import Color
from polyexport.model.conditions.color_condition import COLOR_INPUT, EMBEDDING_INPUT, ColorCondition, ColorLike
from polyexport.model.conditions.condition import ConditionRow
from polyexport.model.conditions.fields import ColorFields, ConditionValue
from polyexport.model.conditions.rgb import RgbCondition
from polyexport.model.conditions.vocabulary import VocabularyCondition
from polyexport.runtime.graph_limits import refuse_unbounded
from polyexport.runtime.open import open_session
from polyexport.runtime.session import Session, SessionOptions, TensorType

__all__ = ["CONDITION", "EmbeddingCondition"]

_CACHED_ROWS = 4096
_PROOF_VECTORS = 5
_PROOF_SEED = 7

_Colors = RgbCondition | VocabularyCondition
_COLORS: dict[str, type[_Colors]] = {each.kind: each for each in (RgbCondition, VocabularyCondition)}


class EmbeddingCondition(ColorCondition):
    """A vector that stands for a color: float32 [dim], from an encoder, a table, or the caller alone."""

    kind = "embedding"
    summary = "vectors that stand for colors"
    default_name = EMBEDDING_INPUT
    dtype = np.dtype(np.float32)

    def __init__(self, fields: ColorFields) -> None:
        super().__init__(fields)
        if fields.embedding is None:
            raise ValueError("a network that was trained on vectors takes them as its input")
        self.embedding = fields.embedding
        self.row_shape = (self.embedding.dim,)
        self._colors = _colors_of(fields)
        if isinstance(self._colors, RgbCondition) != bool(self.embedding.encoder):
            raise ValueError("an encoder belongs to the embedding of a network that takes any color, and to it alone")
        if self.embedding.table:
            self.meaning = "a row of the table in the metadata, one for each name of the palette"
        else:
            encoded = "what the encoder in the metadata makes of sRGB"
            self.meaning = encoded if self.embedding.encoder else "the caller's own"
        self._session: Session | None = None
        self._opening = threading.Lock()
        # The vector of a color is the same for every image, and a run over a folder asks for it once per image.
        self._encode_cached = functools.lru_cache(maxsize=_CACHED_ROWS)(self._encode)

    @property
    def trained(self) -> ColorCondition:
        """The condition that the network was trained on: colors, or these vectors."""
        return self if self.fields.conditioning == self.kind or self._colors is None else self._colors

    @functools.cached_property
    def _table(self) -> NDArray[np.float32]:
        return self.embedding.read_table()

    def open(self) -> None:
        """Load the encoder, if there is one.

        Raises:
            ContractError: an encoder in the contract that is not what the contract says, or that may run without end.
        """
        if self.embedding.encoder:
            self._encoder()

    def _encoder(self) -> Session:
        with self._opening:
            if self._session is None:
                encoder = base64.b64decode(self.embedding.encoder)
                refuse_unbounded(encoder)
                session = open_session(encoder, SessionOptions(provider="cpu", threads=1))
                expected = (
                    {COLOR_INPUT: TensorType("tensor(uint8)", (None, 3))},
                    {EMBEDDING_INPUT: TensorType("tensor(float)", (None, self.embedding.dim))},
                )
                if (session.inputs, session.outputs) != expected:
                    raise ContractError(
                        "the encoder in its contract has other inputs or outputs",
                        remedy="give a model that `polyexport export` wrote",
                    )
                self._session = session
            return self._session

    def fill_color(self, value: ColorLike) -> tuple[int, int, int] | None:
        """Return the sRGB values of a color that the model knows; None if it takes nothing but vectors."""
        return None if self._colors is None else self._colors.fill_color(value)

    def value_of(self, color: Color) -> ConditionValue:
        """Return the index or the sRGB values of a color.

        Raises:
            ColorError: a color that the model does not know.
        """
        if self._colors is None:
            raise ColorError(
                f"color {color} cannot be given to this model: it takes embeddings and knows none of its own",
                remedy="export it with the table of its colors, or call Model.run with embeddings",
            )
        return self._colors.value_of(color)

    def encode(self, value: ConditionValue) -> ConditionRow:
        """Turn an index, sRGB values or base64 of a vector into float32 [dim]."""
        if isinstance(value, str):
            return np.frombuffer(base64.b64decode(value), dtype="<f4").astype(np.float32)
        return self._encode_cached(value)

    def _encode(self, value: int | tuple[int, int, int]) -> NDArray[np.float32]:
        if self._colors is None:
            raise ValueError(f"{value} is not a vector, and this model knows no colors")
        row: NDArray[np.float32] = self._vectors(np.array([value], dtype=self._colors.dtype))[0]
        row.setflags(write=False)  # every caller gets this very array
        return row

    def _vectors(self, rows: NDArray[np.generic]) -> NDArray[np.float32]:
        """Turn colors, [K, 3] or [K], into vectors, float32 [K, dim]."""
        if self.embedding.encoder:
            vectors: NDArray[np.float32] = self._encoder().run(EMBEDDING_INPUT, {COLOR_INPUT: rows})
            return vectors
        table: NDArray[np.float32] = self._table[rows]
        return table

    def encode_trained(self, rows: NDArray[np.generic]) -> NDArray[np.generic]:
        """Turn conditions as the network was trained on them, [K, ...], into float32 [K, dim]."""
        return rows if self.trained is self else self._vectors(rows)

    def describe(self) -> str:
        """Return one line about the colors and the origin of their vectors."""
        known = "none of its own" if self._colors is None else self._colors.describe()
        maker = "its encoder" if self.embedding.encoder else "its table" if self.embedding.table else "the caller"
        return f"{known}; as an embedding of {self.embedding.dim} values, made by {maker}"

    def describe_value(self, value: ConditionValue) -> str:
        """Return the color of a vector, or say that it has none."""
        return (
            "a vector of its own"
            if isinstance(value, str) or self._colors is None
            else self._colors.describe_value(value)
        )

    def example(self) -> str | None:
        """Return a color that the model takes; None if it takes nothing but vectors."""
        return None if self._colors is None else self._colors.example()

    def golden_values(self) -> Sequence[ConditionValue]:
        """Return the colors of the golden samples, or base64 of their vectors."""
        if self._colors is not None:
            return self._colors.golden_values()
        return [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in self.proof_rows()]

    def proof_rows(self) -> NDArray[np.generic]:
        """Return the conditions on which an export is compared with its network, as it was trained on them."""
        if self.trained is not self:
            return self.trained.proof_rows()
        if self.embedding.table:
            return self._table
        rng = np.random.default_rng(_PROOF_SEED)
        return rng.standard_normal((_PROOF_VECTORS, self.embedding.dim), dtype=np.float32)

    def drawing_row(self, rgb: tuple[int, int, int], rng: np.random.Generator) -> NDArray[np.generic]:
        """Return the condition for a generated drawing, as the network was trained on it."""
        if self._colors is None:
            return rng.standard_normal((1, self.embedding.dim), dtype=np.float32)
        row = self._colors.drawing_row(rgb, rng)
        return self._vectors(row) if self.trained is self else row


def _colors_of(fields: ColorFields) -> _Colors | None:
    """Return the condition that knows the colors of the vectors; None if no color has a vector.

    Raises:
        ValueError: a kind of condition that has no embedding.
    """
    if fields.conditioning == EmbeddingCondition.kind:
        kind = VocabularyCondition.kind
        if not fields.palette:
            return None
    else:
        kind = fields.conditioning
    if kind not in _COLORS:
        raise ValueError(f"conditioning {kind} cannot be given to the network as an embedding")
    return _COLORS[kind](ColorFields(conditioning=kind, palette=fields.palette))


CONDITION = EmbeddingCondition
