"""Parsing of forms (multipart/form-data, RFC 7578) whose bytes are all there.

Boundaries are searched by ``bytes.find``, so the time is proportional to the size of the form, whatever is in it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from polyexport.service.body_buffer import find

__all__ = ["Part", "parse_form", "parse_parameters"]

_MAX_PART_HEAD_BYTES = 8 * 1024
_BOUNDARY = re.compile(rb"[ -~]{0,69}[!-~]")
_NAME = rb""";[ \t]*(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)="""
_ESCAPED = re.compile(_NAME + rb"""("(?:[^"\\\r\n]|\\.)*+"|[^\s;"]*)[ \t]*)?""")
_NOT_ESCAPED = re.compile(_NAME + rb"""("[^"\r\n]*"|[^\s;"]*)[ \t]*)?""")
_ESCAPE = re.compile(rb"\\(.)")
_AFTER_BOUNDARY = re.compile(rb"--|[ \t]{0,100}\r\n")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a form."""

    name: str
    """Name of the form's field."""

    is_file: bool
    """Whether the part has a file name."""

    start: int
    """Index of the first byte of the content in the form."""

    end: int
    """Index behind the last byte of the content in the form."""


def parse_parameters(value: bytes) -> dict[bytes, bytes]:
    """Parse the parameters of a header such as Content-Type, whose first word is skipped.

    Returns:
        Values by their names in lowercase, without quotation marks.

    Raises:
        ValueError: something is not a parameter, or a parameter stands there twice.
    """
    try:
        return _parameters(value, _ESCAPED)
    except ValueError:  # browsers send a backslash in the name of a file as it is
        return _parameters(value, _NOT_ESCAPED)


def _parameters(value: bytes, pattern: re.Pattern[bytes]) -> dict[bytes, bytes]:
    position = value.find(b";")
    parameters: dict[bytes, bytes] = {}
    while 0 <= position < len(value):
        match = pattern.match(value, position)
        if match is None:
            raise ValueError("a header has malformed parameters")
        position = match.end()
        name, given = match.groups()
        if name is None:  # a semicolon with nothing behind it
            continue
        if name.lower() in parameters:
            raise ValueError(f"a header has the parameter {name[:60].decode()!r} twice")
        if given.startswith(b'"'):
            given = given[1:-1]
            if pattern is _ESCAPED:
                given = b"".join(_ESCAPE.split(given))  # without the backslashes; re.sub takes ten times as long
        parameters[name.lower()] = given
    return parameters


def parse_form(body: memoryview, boundary: bytes, *, max_parts: int) -> list[Part]:
    """Find the parts of a form.

    Args:
        body: the whole form.
        boundary: the boundary parameter of its content type.
        max_parts: largest number of parts.

    Returns:
        The parts in their order; their contents are slices of ``body``.

    Raises:
        ValueError: the form is malformed, has no end or too many parts, or a name is not UTF-8.
    """
    if not _BOUNDARY.fullmatch(boundary):
        raise ValueError("the boundary of the form is not 1 to 70 ASCII characters")
    parts = list(_parts(body, b"--" + boundary, max_parts))
    if not parts:
        raise ValueError("the form has no parts")
    return parts


def _parts(body: memoryview, delimiter: bytes, max_parts: int) -> Iterator[Part]:
    position = 2 if bytes(body[:2]) == b"\r\n" else 0
    if bytes(body[position : position + len(delimiter)]) != delimiter:
        raise ValueError("the form does not begin with its boundary")
    position += len(delimiter)
    for number in range(max_parts + 1):
        after = _AFTER_BOUNDARY.match(body, position)
        if after is None:
            raise ValueError("the form has a boundary that is not the end of a line")
        if after.group() == b"--":
            return
        if number == max_parts:
            raise ValueError(f"the form has more than {max_parts} parts")
        head = after.end()
        lines, blank, _ = bytes(body[head : head + _MAX_PART_HEAD_BYTES]).partition(b"\r\n\r\n")
        if not blank:
            raise ValueError("the head of a part is malformed or too long")
        name, is_file = _disposition(lines)
        start = head + len(lines) + len(blank)
        end = find(body, b"\r\n" + delimiter, start - 2)
        if end < 0:
            raise ValueError("the form has no end")
        yield Part(name, is_file, start, max(start, end))
        position = end + 2 + len(delimiter)


def _disposition(head: bytes) -> tuple[str, bool]:
    """Name of the field that a part is for, and whether it is a file, from the part's headers."""
    found = [
        value
        for name, colon, value in (line.partition(b":") for line in head.split(b"\r\n"))
        if colon and name.strip().lower() == b"content-disposition"
    ]
    if len(found) != 1 or found[0].partition(b";")[0].strip().lower() != b"form-data":
        raise ValueError("a part needs exactly one header Content-Disposition: form-data")
    parameters = parse_parameters(found[0].strip())
    if b"name" not in parameters:
        raise ValueError("a part has no name")
    # UnicodeDecodeError is a ValueError.
    return parameters[b"name"].decode("utf-8"), bool({b"filename", b"filename*"} & parameters.keys())
