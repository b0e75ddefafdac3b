"""The bytes of a model file, without the onnx package, which the inference side does not have."""

import hashlib
from collections.abc import Iterator

from polyexport.errors import ContractError

__all__ = ["graph_sha256", "metadata_props", "records"]

_METADATA_PROPS = 14  # field number in ModelProto, onnx.proto
_KEY, _VALUE = 1, 2  # in StringStringEntryProto
_VARINT, _EIGHT_BYTES, _LENGTH_DELIMITED, _FOUR_BYTES = 0, 1, 2, 5  # wire types of protobuf

_REMEDY = "give a model that `polyexport export` wrote"


def graph_sha256(model: bytes) -> str:
    """SHA-256 of a model file's bytes without its ``metadata_props``: of everything that decides what it computes.

    Only the outermost level of the file is read, after protobuf's encoding
    (https://protobuf.dev/programming-guides/encoding/).

    Raises:
        ContractError: not a whole protobuf message.
    """
    digest = hashlib.sha256()
    view = memoryview(model)
    for number, _, start, end in records(view):
        if number != _METADATA_PROPS:
            digest.update(view[start:end])
    return digest.hexdigest()


def metadata_props(model: bytes) -> dict[str, str]:
    """The ``metadata_props`` of a model file; of a key that stands there twice, the last, as ONNX Runtime reads it.

    Read from the bytes, so that they say the same whichever runtime runs the graph.

    Raises:
        ContractError: not a whole protobuf message.
        UnicodeDecodeError: text that is not UTF-8; protobuf does not mind it.
    """
    view = memoryview(model)
    found: dict[str, str] = {}
    for number, content, _, end in records(view):
        if number != _METADATA_PROPS or content is None:
            continue
        entry = view[content:end]
        texts = {field: bytes(entry[text:stop]) for field, text, _, stop in records(entry) if text is not None}
        found[texts.get(_KEY, b"").decode()] = texts.get(_VALUE, b"").decode()
    return found


def records(view: memoryview) -> Iterator[tuple[int, int | None, int, int]]:
    """The fields of one protobuf message, in order.

    Yields:
        Field number, where its content starts if it is length-delimited, and where the record starts and ends.

    Raises:
        ContractError: not a whole protobuf message.
    """
    start = 0
    while start < len(view):
        number, content, end = _field(view, start)
        if end > len(view):
            raise ContractError(
                f"not a whole ONNX model: {len(view)} bytes of a field that ends at {end}", remedy=_REMEDY
            )
        yield number, content, start, end
        start = end


def _field(view: memoryview, start: int) -> tuple[int, int | None, int]:
    """Number of the field at ``start``, where its content starts if it is length-delimited, and where it ends: past the
    end if it is cut off or no field.
    """
    tag, position = _varint(view, start)
    kind = tag & 7
    content = None
    if kind == _VARINT:
        _, position = _varint(view, position)
    elif kind == _LENGTH_DELIMITED:
        length, content = _varint(view, position)
        position = content + length
    elif kind == _EIGHT_BYTES:
        position += 8
    elif kind == _FOUR_BYTES:
        position += 4
    else:
        position = len(view) + 1
    return tag >> 3, content, position


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    """The number at ``position`` and the position after it; past the end if it is cut off or too long."""
    value = 0
    for i, byte in enumerate(view[position : position + 10]):
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, position + i + 1
    return 0, len(view) + 1
