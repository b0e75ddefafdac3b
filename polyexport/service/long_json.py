"""JSON requests that are nearly all one string: the image in base64.

A call of ``json.loads`` or ``base64.b64decode`` for 32 MiB holds the interpreter's lock for 50 to 100 ms, in which the
event loop answers nobody, and makes several copies of the text. So the long string is cut out of the text and decoded
in pieces, and only the short rest is parsed.
"""

import binascii
import json
from typing import Any

from polyexport.service.body_buffer import find
from polyexport.storage.strict_json import read_json

__all__ = ["LONG_STRING", "MAX_SHORT_BYTES", "decode_base64", "read_short_json", "split_json"]

LONG_STRING = "<image>"
"""Value that stands for the long string in the rest of the text; it is not base64."""

MAX_SHORT_BYTES = 64 * 1024
"""Largest size of a request without its long string."""

_MIN_LONG_BYTES = MAX_SHORT_BYTES // 2  # no other field is nearly as long
_MAX_DEPTH = 8
_MAX_VALUES = 64
_PIECE_BYTES = 256 * 1024
_LONGEST_ESCAPE_BYTES = 6


def split_json(body: memoryview) -> tuple[bytes, slice | None]:
    r"""Cut the long string out of a JSON text.

    Whatever stands in the text, the outcome is never another document than the text: a slice that begins or ends at an
    escaped quotation mark, or that is no string at all, leaves a rest that is not JSON, or a slice that is not base64.

    Args:
        body: the text, of any size.

    Returns:
        The text with ``LONG_STRING`` in place of its long string, and the slice of ``body`` between the quotation marks
        of that string; or the text itself and None, if it is short.

    Raises:
        ValueError: the text has more than 64 KiB without its longest string.
    """
    if len(body) <= MAX_SHORT_BYTES:
        return bytes(body), None
    head = bytes(body[:MAX_SHORT_BYTES])
    opening = head.find(b'"')
    while opening >= 0:
        closing = head.find(b'"', opening + 1)
        if closing < 0:
            closing = find(body, b'"', len(head))
        if closing - opening > _MIN_LONG_BYTES:
            if len(body) - (closing - opening) > MAX_SHORT_BYTES:
                break
            short = head[: opening + 1] + LONG_STRING.encode() + bytes(body[closing:])
            if short.count(LONG_STRING.encode()) > 1:
                break
            return short, slice(opening + 1, closing)
        opening = closing if closing < MAX_SHORT_BYTES else -1
    raise ValueError(f"it has more than {MAX_SHORT_BYTES} bytes besides the image")


def read_short_json(text: bytes) -> Any:
    """Read the JSON text of a request without its long string.

    Raises:
        RepeatedMemberError: an object has two members of one name.
        ValueError: the text is not JSON, is not UTF-8, is deep, has many values, or has half of a surrogate pair.
    """
    value = read_json(text, max_depth=_MAX_DEPTH, max_values=_MAX_VALUES)
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
