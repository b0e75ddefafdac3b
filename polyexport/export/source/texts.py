"""Readers of what a user says about a network as text: ranges, arguments, colors, fractions, lists."""

import contextlib
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from polyexport.errors import ColorError, UsageError
from polyexport.export.source.source import ValueRange
from polyexport.imaging.color import COLOR_NAME, parse_color
from polyexport.model.conditions.fields import Palette

__all__ = [
    "ImportPath",
    "checked_range",
    "color_name",
    "expect",
    "parse_argument",
    "parse_colors",
    "parse_number",
    "parse_numbers",
    "parse_range",
    "unique",
]

_MAX_VALUE = 1e6  # largest magnitude of an end of a value range
_NUMBER = r"[-+]?[0-9]{1,30}(?:\.[0-9]{1,30})?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})")
_FRACTION = re.compile(rf"({_NUMBER})(?:/([0-9]{{1,30}}(?:\.[0-9]{{1,30}})?))?")
_PATH = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)
_PYTHON_WORDS = {"True": "true", "False": "false"}


@dataclass(frozen=True, slots=True)
class ImportPath:
    """Text that may name an object, such as ``torch.nn:InstanceNorm2d``; text, where nothing can be imported by it."""

    text: str


def parse_range(text: str) -> ValueRange:
    """Parse a value range such as ``0..1`` or ``-1..1``: the network's values for the pixel values 0 and 255.

    Raises:
        UsageError: The text is not two growing numbers of at most a million.
    """
    match = _RANGE.fullmatch(text.strip())
    expect(match is not None, f"{text[:60]!r} is not a range of values", "give two numbers such as 0..1 or -1..1")
    assert match is not None
    return checked_range(float(match[1]), float(match[2]))


def parse_number(text: str, what: str) -> float:
    """Parse a number such as ``25`` or ``-0.5``, or a fraction such as ``1/255``.

    Args:
        text: The text.
        what: What the number is, for the message.

    Raises:
        UsageError: The text is no such number, or it is larger than a million.
    """
    match = _FRACTION.fullmatch(text.strip())
    value = float(Fraction(match[1]) / Fraction(match[2] or 1)) if match and Fraction(match[2] or 1) else None
    expect(
        value is not None and abs(value) <= _MAX_VALUE,
        f"{what} is {text[:60]!r}",
        f"give a number of at most {_MAX_VALUE:,.0f}, such as 25, 0.5 or 1/255",
    )
    assert value is not None
    return value


def parse_numbers(text: str, what: str) -> tuple[float, ...]:
    """Parse numbers with commas between them, such as ``0.485,0.456,0.406``.

    Raises:
        UsageError: One of them is not a number.
    """
    return tuple(parse_number(part, what) for part in text.split(","))


def parse_argument(text: str) -> tuple[str, Any]:
    """Parse ``NAME=VALUE``, one keyword argument; VALUE is read as TOML, and taken as text if it is not TOML.

    ``NAME=None`` is Python's None, for which TOML has no word; many networks fetch weights unless it is given.

    Text without quotes that has the form of ``module:name`` becomes an ``ImportPath``.

    Raises:
        UsageError: The name is missing, or the value looks like Python or like a list and is not TOML.
    """
    name, equals, value = (part.strip() for part in text.partition("="))
    expect(
        bool(equals) and name.isidentifier(),
        f"{text[:60]!r} is not an argument",
        "give NAME=VALUE such as num_colors=20",
    )
    if value == "None":
        return name, None
    expect(
        value not in _PYTHON_WORDS,
        f"{value} is Python, expected TOML in {text[:60]!r}",
        f"give {_PYTHON_WORDS.get(value, '')}",
    )
    try:
        # In an inline table a value cannot end early: what follows it is a fault or one more key.
        parsed = tomllib.loads(f"_ = {{ _ = {value} }}")
    except (ValueError, RecursionError):
        parsed = {}
    if parsed.keys() == {"_"} and parsed["_"].keys() == {"_"}:
        return name, parsed["_"]["_"]
    expect(
        not value.startswith(("[", "{", "(", '"', "'")),
        f"the value of {text[:60]!r} is not TOML",
        "quote it for the shell, such as 'channels=[8, 16]' or 'act=\"relu\"'",
    )
    return name, ImportPath(value) if _PATH.fullmatch(value) else value


def parse_colors(texts: Sequence[str]) -> Palette:
    """Parse a vocabulary in index order: CSS colors, or ``brand=#123456`` for a name that CSS does not have.

    Raises:
        UsageError: A name stands twice, or cannot name a folder.
        ColorError: A value is not a color.
    """
    pairs = [text.rpartition("=") if "=" in text else (text, "=", text) for text in texts]
    values = [parse_color(value).rgb for _, _, value in pairs]
    return tuple(zip(unique(color_name(name) for name, _, _ in pairs), values, strict=True))


def expect(holds: bool, fault: str, remedy: str) -> None:
    """Raise a ``UsageError`` unless a condition on the user's input holds.

    Raises:
        UsageError: ``holds`` is false; ``fault`` is its message, ``remedy`` the advice.
    """
    if not holds:
        raise UsageError(fault, remedy=remedy)


def unique(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of colors as a tuple, and refuse duplicates.

    Raises:
        UsageError: A name stands twice.
    """
    counts = Counter(names)
    twice = [name for name, count in counts.items() if count > 1]
    expect(not twice, f"the colors name {', '.join(twice[:3])} twice", "give each name once")
    return tuple(counts)


def color_name(text: str) -> str:
    """Normalize the name of a color: the name that ``parse_color`` gives it, or else the text in lower case.

    Raises:
        UsageError: The text cannot name a folder.
    """
    with contextlib.suppress(ColorError):
        return parse_color(text).name
    name = text.strip().lower()
    expect(
        COLOR_NAME.fullmatch(name) is not None,
        f"{text[:60]!r} cannot name a color",
        "give letters, digits, spaces, dots and hyphens, up to 64",
    )
    return name


def checked_range(low: float, high: float) -> ValueRange:
    """Return a value range after checking that it grows in float32, the network's own type.

    Raises:
        UsageError: The range does not grow, or an end is larger than a million.
    """
    growing = all(abs(value) <= _MAX_VALUE for value in (low, high)) and np.float32(low) < np.float32(high)
    expect(bool(growing), f"the range {low}..{high} does not grow", f"give two numbers of at most {_MAX_VALUE:,.0f}")
    return float(low), float(high)
