"""Reading a model file's bytes as protobuf records, without the onnx package, which inference does not depend on.

Protobuf's encoding is documented at https://protobuf.dev/programming-guides/encoding/.
"""

import hashlib
import re
from collections.abc import Iterator

from polyexport.errors import ContractError

__all__ = [
    "MAX_METADATA_BYTES",
    "graph_sha256",
    "metadata_props",
    "records",
    "refuse_external_data",
    "refuse_incomplete",
]

MAX_METADATA_BYTES = 32 << 20
"""Largest size of the ``metadata_props`` that are read. ``small`` has 15 KB; a table of 1000 vectors of 4096 values has
22 MB."""

_MAX_ENTRIES = 64
_MAX_ENTRY_FIELDS = 1024  # a whole entry has two

_METADATA_PROPS = 14  # field number in ModelProto, onnx.proto
_KEY, _VALUE = 1, 2  # in StringStringEntryProto
_VARINT, _EIGHT_BYTES, _LENGTH_DELIMITED, _FOUR_BYTES = 0, 1, 2, 5  # wire types of protobuf

_MAX_TAG = 0xFFFFFFFF
"""Bits of a tag that count: protobuf's own readers drop those above, so that one field has several spellings."""

_REMEDY = "give a model that `polyexport export` wrote"

# A tensor with external data names its file under the key "location". The length before the key may be padded with zero
# bits; the tag before that has too many spellings to match. Models of this toolkit hold their weights inside.
_EXTERNAL_DATA = re.compile(rb"(?:\x08|\x88\x80*\x00)location")


def graph_sha256(model: bytes) -> str:
    """SHA-256 of everything in a model file that decides what it computes: its bytes without the ``metadata_props``.

    Only the outermost level of the file is read.

    Raises:
        ContractError: the bytes are not a whole protobuf message.
    """
    digest = hashlib.sha256()
    view = memoryview(model)
    for number, _, start, end in records(view):
        if number != _METADATA_PROPS:
            digest.update(view[start:end])
    return digest.hexdigest()


def metadata_props(model: bytes) -> dict[str, str]:
    """The ``metadata_props`` of a model file. The last value of a repeated key counts, as in ONNX Runtime.

    They are read from the bytes, so that they are the same whichever runtime runs the graph.

    Raises:
        ContractError: the bytes are not a whole protobuf message, or the metadata is larger than
            ``MAX_METADATA_BYTES``.
        UnicodeDecodeError: a text is not UTF-8, which protobuf accepts.
    """
    view = memoryview(model)
    found: dict[str, str] = {}
    total = 0
    for number, content, _, end in records(view):
        if number != _METADATA_PROPS or content is None:
            continue
        total += end - content
        if total > MAX_METADATA_BYTES or len(found) > _MAX_ENTRIES:
            raise ContractError(
                f"its metadata has more than {MAX_METADATA_BYTES} bytes or {_MAX_ENTRIES} entries", remedy=_REMEDY
            )
        entry = view[content:end]
        texts: dict[int, bytes] = {}
        for count, (field, text, _, stop) in enumerate(records(entry)):
            if count >= _MAX_ENTRY_FIELDS:
                raise ContractError(
                    f"an entry of its metadata has more than {_MAX_ENTRY_FIELDS} fields", remedy=_REMEDY
                )
            if text is not None:
                texts[field] = bytes(entry[text:stop])
        found[texts.get(_KEY, b"").decode()] = texts.get(_VALUE, b"").decode()
    return found


def refuse_external_data(model: bytes) -> None:
    """Check that a model names no other files.

    Raises:
        ContractError: it does.
    """
    # The plain search is 40 times as fast as the pattern, which hardly any file gets to.
    if b"location" in model and _EXTERNAL_DATA.search(model):
        raise ContractError("the model keeps data in other files, which are never opened", remedy=_REMEDY)


def refuse_incomplete(model: bytes) -> None:
    """Check that the bytes of a model file are a whole protobuf message.

    Raises:
        ContractError: they are not.
    """
    for _ in records(memoryview(model)):
        pass


def records(view: memoryview) -> Iterator[tuple[int, int | None, int, int]]:
    """Iterate over the fields of one protobuf message, in order.

    Yields:
        Field number; offset of the content if it is length-delimited, else None; offsets of the record's start and end.

    Raises:
        ContractError: the bytes are not a whole protobuf message.
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
    """Read the field at ``start``: its number, the offset of its content if it is length-delimited, and its end.

    The end lies past the end of ``view`` if the field is cut off or has no valid wire type.
    """
    tag, position = _varint(view, start)
    tag &= _MAX_TAG
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
    """Read the number at ``position``, and the position after it: past the end if it is cut off or too long."""
    value = 0
    for i, byte in enumerate(view[position : position + 10]):
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, position + i + 1
    return 0, len(view) + 1
