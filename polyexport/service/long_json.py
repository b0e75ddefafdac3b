"""JSON requests that are nearly all strings: the image, and perhaps further pictures, in base64.

A call of ``json.loads`` or ``base64.b64decode`` for 32 MiB holds the interpreter's lock for 50 to 100 ms, in which the
event loop answers nobody, and makes several copies of the text. So long strings are cut out of the text and decoded
in pieces, and only the short rest is parsed.
"""

import binascii
import json
from typing import Any

from polyexport.service.body_buffer import find
from polyexport.storage.strict_json import read_json

__all__ = ["MAX_SHORT_BYTES", "decode_base64", "long_string", "read_short_json", "split_json"]

MAX_SHORT_BYTES = 64 * 1024
"""Largest size of a request without its long strings."""

_STANDS_FOR = "<picture "
_AFTER_STRINGS = b" \t\r\n:,]}"
"""Bytes that may follow the end of a string, and that base64 does not begin with."""

_MAX_DEPTH = 8
_MAX_VALUES = 64
_PIECE_BYTES = 256 * 1024
_LONGEST_ESCAPE_BYTES = 6


def long_string(number: int) -> str:
    """Return the value that stands for a long string in the rest of the text; it is not base64.

    Args:
        number: number of the string, from 0 on.
    """
    return f"{_STANDS_FOR}{number}>"


def split_json(
    body: memoryview, *, most: int = 1, max_short_bytes: int = MAX_SHORT_BYTES
) -> tuple[bytes, tuple[slice, ...]]:
    r"""Cut the long strings out of a JSON text.

    Whatever stands in the text, the outcome is never another document than the text: a slice that begins or ends at an
    escaped quotation mark, or that is no string at all, leaves a rest that is not JSON, or a slice that is not base64.

    Args:
        body: the text, of any size.
        most: largest number of long strings.
        max_short_bytes: largest size of the text without its long strings.

    Returns:
        The text with ``long_string(0)`` and so on in place of its long strings, and the slices of ``body`` between the
        quotation marks of those strings; or the text itself and no slice, if it is short.

    Raises:
        ValueError: the text is longer without its longest strings.
    """
    if len(body) <= max_short_bytes:
        return bytes(body), ()
    kept: list[bytes] = []
    cut: list[slice] = []
    start, left = 0, max_short_bytes
    while len(cut) < most:
        found = _next_long(body, start, left, MAX_SHORT_BYTES // (2 * most))  # no other field is nearly as long
        if found is None:
            break
        kept.append(bytes(body[start : found.start]) + long_string(len(cut)).encode())
        left -= found.start - start
        start = found.stop
        cut.append(found)
    if len(body) - start <= left:
        short = b"".join(kept) + bytes(body[start:])
        if short.count(_STANDS_FOR.encode()) == len(cut):
            return short, tuple(cut)
    raise ValueError(f"it has more than {max_short_bytes} bytes besides the image{'s' if most > 1 else ''}")


def _next_long(body: memoryview, start: int, window: int, least: int) -> slice | None:
    """Find the next string of more than ``least`` bytes whose opening quotation mark is within a window."""
    head = bytes(body[start : start + window])
    opening = head.find(b'"')
    while opening >= 0:
        closing = head.find(b'"', opening + 1)
        if closing < 0:
            closing = find(body, b'"', start + len(head)) - start
        first = start + opening + 1
        if closing - opening > least and body[first] not in _AFTER_STRINGS:
            return slice(first, start + closing)
        opening = closing if closing < len(head) else -1
    return None


def read_short_json(text: bytes, *, further_values: int = 0) -> Any:
    """Read the JSON text of a request without its long strings.

    Args:
        text: the text.
        further_values: number of values that it may have beyond 64.

    Raises:
        RepeatedMemberError: an object has two members of one name.
        ValueError: the text is not JSON, is not UTF-8, is deep, has many values, or has half of a surrogate pair.
    """
    value = read_json(text, max_depth=_MAX_DEPTH, max_values=_MAX_VALUES + further_values)
    json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair cannot be written as UTF-8
    return value


def decode_base64(text: memoryview) -> bytes:
    r"""Decode the contents of a JSON string as base64, in pieces that hold the interpreter's lock for about 1 ms.

    Args:
        text: the bytes between the quotation marks; escapes such as ``\/`` are allowed.

    Raises:
        ValueError: the text is not base64 with its padding.
    """
    decoded: list[bytes] = []
    rest = b""
    position = 0
    while position < len(text):
        piece = bytes(text[position : position + _PIECE_BYTES])
        position += len(piece)
        escape = piece.rfind(b"\\", len(piece) - _LONGEST_ESCAPE_BYTES)
        if escape > 0 and position < len(text):  # the piece ends before it, not inside of it
            position -= len(piece) - escape
            piece = piece[:escape]
        rest += json.loads(f'"{piece.decode("ascii")}"').encode("ascii") if b"\\" in piece else piece
        whole = len(rest) // 4 * 4
        if position < len(text) and b"=" in rest:
            raise ValueError("padding stands before the end")
        decoded.append(binascii.a2b_base64(rest[:whole], strict_mode=True))
        rest = rest[whole:]
    if rest:
        raise binascii.Error("the length is not a multiple of 4")
    return b"".join(decoded)
