"""The bytes of a model file, without the onnx package, which the inference side does not have."""

import hashlib

from polyexport.errors import ContractError

__all__ = ["graph_sha256"]

_METADATA_PROPS = 14  # field number in ModelProto, onnx.proto
_VARINT, _EIGHT_BYTES, _LENGTH_DELIMITED, _FOUR_BYTES = 0, 1, 2, 5  # wire types of protobuf


def graph_sha256(model: bytes) -> str:
    """SHA-256 of a model file's bytes without its ``metadata_props``: of everything that decides what it computes.

    Only the outermost level of the file is read, after protobuf's encoding
    (https://protobuf.dev/programming-guides/encoding/).

    Raises:
        ContractError: not a whole protobuf message.
    """
    digest = hashlib.sha256()
    view = memoryview(model)
    start = 0
    while start < len(view):
        end, number = _field(view, start)
        if end > len(view):
            raise ContractError(
                f"not a whole ONNX model: {len(view)} bytes of a field that ends at {end}",
                remedy="give a model that `polyexport export` wrote",
            )
        if number != _METADATA_PROPS:
            digest.update(view[start:end])
        start = end
    return digest.hexdigest()


def _field(view: memoryview, start: int) -> tuple[int, int]:
    """Where the field at ``start`` ends, and its number; past the end if it is cut off or no field."""
    tag, position = _varint(view, start)
    kind = tag & 7
    if kind == _VARINT:
        _, position = _varint(view, position)
    elif kind == _LENGTH_DELIMITED:
        length, position = _varint(view, position)
        position += length
    elif kind == _EIGHT_BYTES:
        position += 8
    elif kind == _FOUR_BYTES:
        position += 4
    else:
        position = len(view) + 1
    return position, tag >> 3


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    """The number at ``position`` and the position after it; past the end if it is cut off or too long."""
    value = 0
    for i, byte in enumerate(view[position : position + 10]):
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, position + i + 1
    return 0, len(view) + 1
