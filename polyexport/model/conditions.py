"""A colour -> one row of a graph's second input, whatever the network was trained on."""

import base64
import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyexport.errors import ColorError, ContractError
from polyexport.imaging.color import Color, color_of
from polyexport.model.contract import COLOR_INPUT, EMBEDDING_INPUT, Contract
from polyexport.runtime.open import open_session
from polyexport.runtime.session import SessionOptions, TensorType

__all__ = ["ColorLike", "ColorRow", "Conditioner"]

ColorLike = Color | str | tuple[int, int, int]
ColorRow = NDArray[Any]
"""uint8 [3], an int64 scalar, or float32 [dim]."""

_REMEDY = "give a model that `polyexport export` wrote"


class Conditioner:
    """What stands between a colour and a contract's second input. Safe to call from several threads.

    Raises:
        ContractError: an encoder in the contract that is not what it says.
    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._names = [name for name, _ in contract.palette]
        self._values = [rgb for _, rgb in contract.palette]
        embedding = contract.embedding
        self._table: NDArray[np.float32] | None = None
        self._encoder = None
        self.name = EMBEDDING_INPUT if embedding else COLOR_INPUT
        """Of the input."""

        if embedding is None:
            rgb = contract.conditioning == "rgb"
            self.dtype: np.dtype[Any] = np.dtype(np.uint8 if rgb else np.int64)
            self.row_shape: tuple[int, ...] = (3,) if rgb else ()
        else:
            self.dtype, self.row_shape = np.dtype(np.float32), (embedding.dim,)
            if embedding.table:
                values = np.frombuffer(base64.b64decode(embedding.table), dtype="<f4")
                self._table = values.reshape(-1, embedding.dim).astype(np.float32)
            if embedding.encoder:
                self._encoder = open_session(
                    base64.b64decode(embedding.encoder), SessionOptions(provider="cpu", threads=1)
                )
                expected = (
                    {COLOR_INPUT: TensorType("tensor(uint8)", (None, 3))},
                    {EMBEDDING_INPUT: TensorType("tensor(float)", (None, embedding.dim))},
                )
                if (self._encoder.inputs, self._encoder.outputs) != expected:
                    raise ContractError("the encoder in its contract has other inputs or outputs", remedy=_REMEDY)
        # An embedding is the same for every image; a folder asks for it once per image.
        self._embedded = functools.lru_cache(maxsize=4096)(self._embed)

    @property
    def tensor_type(self) -> TensorType:
        """Of the input, as ONNX Runtime has it."""
        kinds = {"uint8": "tensor(uint8)", "int64": "tensor(int64)", "float32": "tensor(float)"}
        leading: tuple[int | None, ...] = (None, None) if self._contract.many_colors else (None,)
        return TensorType(kinds[self.dtype.name], leading + self.row_shape)

    def color(self, color: ColorLike) -> Color:
        """Parse a color: a name of the model's own palette, or any text that ``polyexport.imaging.color`` reads.

        Raises:
            ColorError: neither.
        """
        if isinstance(color, str) and (name := color.strip().lower()) in self._names:
            return Color(name, self._values[self._names.index(name)])
        return color_of(color)

    def row(self, color: ColorLike) -> ColorRow:
        """One row of the input: uint8 [3], an int64 scalar, or float32 [dim].

        Raises:
            ColorError: no colour, or one that the model does not know.
        """
        parsed = self.color(color)
        key = parsed.rgb if self._contract.conditioning == "rgb" else self._index(parsed)
        return self.encode(key)

    def encode(self, value: int | tuple[int, int, int]) -> ColorRow:
        """What ``row`` gives, of an index into the palette or of sRGB."""
        return np.array(value, dtype=self.dtype) if self._contract.embedding is None else self._embedded(value)

    def _embed(self, value: int | tuple[int, int, int]) -> NDArray[np.float32]:
        if self._encoder is not None:
            row: NDArray[np.float32] = self._encoder.run(EMBEDDING_INPUT, {COLOR_INPUT: np.array([value], np.uint8)})[0]
        else:
            assert self._table is not None
            row = self._table[np.asarray(value, dtype=np.intp)]
        row.setflags(write=False)  # every caller gets this very array
        return row

    def _index(self, color: Color) -> int:
        if not self._names:
            raise ColorError(
                f"color {color} cannot be given to this model: it takes embeddings and knows none of its own",
                remedy="export it with the table of its colors, or call Model.run with embeddings",
            )
        if color.name in self._names:
            return self._names.index(color.name)
        if color.rgb in self._values:
            return self._values.index(color.rgb)
        distance = np.abs(np.array(self._values) - np.array(color.rgb)).sum(axis=1)
        nearest = ", ".join(self._names[i] for i in np.argsort(distance, kind="stable")[:3])
        raise ColorError(
            f"color {color} is not one of this model's {len(self._names)}", remedy=f"the nearest are {nearest}"
        )
