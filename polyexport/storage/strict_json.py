"""JSON text from outside -> Python values: one reader, bounded before anything is built, that accepts no ambiguity."""

import json
import re
from typing import Any, NoReturn

__all__ = ["RepeatedMemberError", "read_json"]

_STRUCTURE = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{},]', re.DOTALL)
"""A string, or a character that opens, closes or separates values outside strings. The pattern does not backtrack, and
a string without an end goes to the end of the text, so the time is proportional to the length of the text."""


class RepeatedMemberError(ValueError):
    """An object has two members of one name."""


def read_json(data: bytes | str, *, max_depth: int = 32, max_values: int = 1_000_000) -> Any:
    """Read a JSON document (RFC 8259) from an untrusted source.

    The text is scanned for its depth and number of values before any value is built. So the memory that reading takes
    is bounded by ``max_values`` and by the length of the text.

    Args:
        data: the document; bytes must be UTF-8, with or without a byte order mark.
        max_depth: largest number of arrays and objects inside each other.
        max_values: largest number of members of all arrays and objects together.

    Returns:
        What ``json.loads`` returns.

    Raises:
        RepeatedMemberError: an object has two members of one name.
        ValueError: text that is not UTF-8 or not JSON, that is too deep or has too many values, or that has one of the
            numbers NaN and Infinity, which JSON does not have.
    """
    text = data if isinstance(data, str) else data.decode("utf-8-sig")
    _check_size(text, max_depth, max_values)
    return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)


def _check_size(text: str, max_depth: int, max_values: int) -> None:
    """Count brackets and commas. Text that is not JSON may pass; the reader refuses it."""
    depth = values = 0
    for match in _STRUCTURE.finditer(text):
        character = text[match.start()]
        if character in "[{":
            depth += 1
            values += 1
            if depth > max_depth:
                raise ValueError(f"more than {max_depth} arrays and objects inside each other")
        elif character in "]}":
            depth -= 1
        elif character == ",":
            values += 1
        if values > max_values:
            raise ValueError(f"more than {max_values} values")


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    built = dict(members)
    if len(built) != len(members):
        seen: set[str] = set()
        twice = next(name for name, _ in members if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise RepeatedMemberError(f"the member {twice[:60]!r} stands twice in one object")
    return built


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
