"""Readers of the fields of a ``NetworkSpec``, as a command line and a TOML file spell them.

A value is the text of an option, a list of such texts for an option that may be repeated, or what TOML makes of a
number, a list or a table.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyexport.export.source.condition_spec import ConditionSpec, parse_condition, read_condition
from polyexport.export.source.source import ValueRange
from polyexport.export.source.texts import (
    checked_range,
    expect,
    parse_argument,
    parse_colors,
    parse_number,
    parse_numbers,
    parse_range,
)
from polyexport.model.conditions.fields import Palette

__all__ = ["FIELDS", "Field", "read_field"]

_MAX_INTEGER = 1 << 31


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """Reading of one field of a ``NetworkSpec``."""

    name: str
    """Name of the field."""

    types: tuple[type, ...]
    """Types of a value."""

    expected: str
    """These types, for a message."""

    read: Callable[[Any, Path], Any] | None = None
    """Function that reads a value of such a type, with the folder that paths in it are relative to."""


def read_field(key: str, value: Any, folder: Path = Path()) -> tuple[str, Any]:
    """Read one value.

    Args:
        key: A key of ``FIELDS``.
        value: Its value.
        folder: Folder that paths are relative to.

    Returns:
        The name of the field in ``NetworkSpec``, and its value.

    Raises:
        UsageError: The value has another type or form.
    """
    field = FIELDS[key]
    expect(
        type(value) in field.types,
        f"{key} is {repr(value)[:60]}, expected {field.expected}",
        f"give {key} as {field.expected}",
    )
    expect(
        type(value) is not int or abs(value) <= _MAX_INTEGER,
        f"{key} is {repr(value)[:60]}, expected at most {_MAX_INTEGER}",
        "give a smaller number",
    )
    return field.name, field.read(value, folder) if field.read else value


def _read_range(value: Any, _: Path) -> ValueRange:
    if isinstance(value, str):
        return parse_range(value)
    expect(
        len(value) == 2 and all(type(one) in (int, float) for one in value),
        f"{repr(value)[:60]} is not a range of values",
        'give "0..1" or [0, 1]',
    )
    return checked_range(*value)


def _read_arguments(value: Any, _: Path) -> Mapping[str, Any]:
    if isinstance(value, dict):
        return value
    expect(all(isinstance(text, str) for text in value), "the arguments are not a table", "give name = value")
    return dict(map(parse_argument, value))


def _read_colors(value: Any, _: Path) -> Palette:
    if isinstance(value, dict):
        value = [f"{name}={color}" if isinstance(color, str) else color for name, color in value.items()]
    expect(all(isinstance(text, str) for text in value), "a color is not text", 'give name = "#rrggbb" or a CSS value')
    return parse_colors(value)


def _read_conditions(value: Any, folder: Path) -> tuple[ConditionSpec, ...]:
    found = []
    for one in value:
        expect(
            isinstance(one, str | dict), f"a condition is {repr(one)[:60]}", "give tables, each headed by [[condition]]"
        )
        found.append(parse_condition(one) if isinstance(one, str) else read_condition(one, folder))
    return tuple(found)


def _numbers(key: str) -> Callable[[Any, Path], tuple[float, ...]]:
    def read(value: Any, _: Path) -> tuple[float, ...]:
        if isinstance(value, str):
            return parse_numbers(value, key)
        values = value if isinstance(value, list) else [value]
        return tuple(parse_number(str(one), key) for one in values)

    return read


def _number(key: str) -> Callable[[Any, Path], float]:
    return lambda value, _: parse_number(str(value), key)


def _text(key: str) -> tuple[str, Field]:
    return key, Field(name=key.replace("-", "_"), types=(str,), expected="text")


def _place(key: str) -> tuple[str, Field]:
    return key, Field(
        name=key.replace("-", "_"), types=(str, int), expected="a name or a position", read=lambda value, _: str(value)
    )


def _whole(key: str) -> tuple[str, Field]:
    return key, Field(name=key.replace("-", "_"), types=(int,), expected="an integer")


def _range(key: str) -> tuple[str, Field]:
    return key, Field(name=key.replace("-", "_"), types=(str, list), expected="a range", read=_read_range)


def _many(key: str) -> tuple[str, Field]:
    return key, Field(name=key.replace("-", "_"), types=(str, list, int, float), expected="numbers", read=_numbers(key))


def _table(key: str, read: Callable[[Any, Path], Any], name: str = "") -> tuple[str, Field]:
    return key, Field(name=name or key.replace("-", "_"), types=(dict, list), expected="a table", read=read)


FIELDS: Mapping[str, Field] = dict((
    _text("network"),
    ("weights", Field(name="weights", types=(str,), expected="text", read=lambda value, folder: folder / value)),
    _text("weights-key"),
    ("arguments", Field(name="arguments", types=(dict, list), expected="a table", read=_read_arguments)),
    _place("image-argument"),
    ("condition", Field(name="conditions", types=(list,), expected="a list of tables", read=_read_conditions)),
    _table("fixed", _read_arguments),
    _whole("channels"),
    _text("layout"),
    _text("gray"),
    _range("value-range"),
    _many("mean"),
    _many("std"),
    _text("input-space"),
    _place("output-key"),
    _text("activation"),
    _whole("output-channel"),
    ("residual", Field(name="residual", types=(str, int, float), expected="a number", read=_number("residual"))),
    _range("output-range"),
    _many("output-mean"),
    _many("output-std"),
    _text("output-space"),
    _table("label-colors", _read_colors),
    _text("result"),
    _text("conditioning"),
    _table("colors", _read_colors),
    _text("embedding"),
    _whole("embedding-dim"),
    _text("embedding-table"),
    _whole("size"),
    _whole("size-multiple"),
))  # fmt: skip
"""Key of a TOML file -> how its value is read. The options of the command line have the same names."""
