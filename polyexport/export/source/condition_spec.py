"""The description of one condition of a network: what it is, and in which argument and form the network takes it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyexport.errors import UsageError, reason_of
from polyexport.export.source.source import ValueRange
from polyexport.export.source.texts import expect, parse_number, parse_range
from polyexport.model.conditions.fields import (
    ImageFields,
    LabelFields,
    NumberFields,
    VectorFields,
)
from polyexport.storage.files import read_limited

__all__ = ["FORMS", "ConditionSpec", "parse_condition", "read_condition"]

FORMS: Mapping[str, tuple[str, ...]] = {
    "color": ("value", "one-hot", "planes", "channels"),
    "label": ("index", "one-hot", "planes", "channels"),
    "number": ("[B]", "[B,1]", "[B,1,1,1]", "planes", "channels"),
    "vector": ("[B,D]", "[B,D,1,1]", "planes", "channels"),
    "image": ("value", "channels"),
}
"""Kind of a condition -> the forms in which a network may take it, its usual one first.

``planes`` are constant planes of the image's size in an argument of their own; ``channels`` are the same, after the
channels of the image. A color or label of a list is one-hot in both."""

_KEYS: Mapping[str, tuple[str, ...]] = {
    "color": ("argument", "as", "range"),
    "label": ("argument", "as", "labels", "default"),
    "number": ("argument", "as", "range", "default", "unit", "scale"),
    "vector": ("argument", "as", "dim", "default", "scale"),
    "image": ("argument", "as", "channels", "range"),
}
_NEXT_KEY = re.compile(r",(?=[a-z-]+=)")  # the commas of [B,1] stay
_MAX_LABELS_BYTES = 1 << 20
_EXAMPLES = {
    "color": "color=color",
    "label": "style=label:labels=sketch|ink",
    "number": "sigma=number:range=0..75",
    "vector": "code=vector:dim=8",
    "image": "mask=image:channels=1",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ConditionSpec:
    """One condition of a network.

    Raises:
        UsageError: A kind, form, name or value that is impossible.
    """

    name: str
    """Name in the contract, and of the argument of forward if ``argument`` is empty."""

    kind: str
    """``color``, ``label``, ``number``, ``vector`` or ``image``."""

    argument: str = ""
    """Name of the argument of forward, or its position from 0, the image's own included."""

    form: str = ""
    """One of ``FORMS``; empty for the usual one of the kind."""

    labels: tuple[str, ...] = ()
    """Names of a label in index order."""

    range: ValueRange | None = None
    """Smallest and largest number; or what the pixel values 0 and 255 of a picture or a color are for the network."""

    default: Any = None
    """Value of a call that gives none."""

    unit: str = ""
    """Unit of a number."""

    scale: float = 1.0
    """Factor of a number or vector on its way to the network."""

    dim: int = 0
    """Number of values of a vector."""

    channels: int = 0
    """Channels of a picture; 0 for one, as masks have."""

    def __post_init__(self) -> None:
        expect(
            self.kind in FORMS,
            f"the condition {self.name[:60]!r} is of kind {self.kind[:60]!r}",
            f"give {', '.join(FORMS)}, such as --condition '{_EXAMPLES['number']}'",
        )
        expect(
            self.form in ("", *FORMS[self.kind]),
            f"the {self.kind} {self.name[:60]} cannot be given as {self.form[:60]!r}",
            f"give as={' or as='.join(FORMS[self.kind])}",
        )
        expect(
            not (self.form == "channels" and self.argument),
            f"{self.name[:60]} is joined to the channels of the image, and has an argument of its own too",
            "leave out argument, or give as=planes",
        )
        self.fields()  # checks the values

    @property
    def as_form(self) -> str:
        """The form, the usual one of the kind if none was said."""
        return self.form or FORMS[self.kind][0]

    def fields(self) -> LabelFields | NumberFields | VectorFields | ImageFields | None:
        """Return the entries of the contract; None for a color, which more than this describes.

        Raises:
            UsageError: Values that a contract does not hold.
        """
        example = f"such as --condition '{_EXAMPLES[self.kind]}'"
        try:
            match self.kind:
                case "label":
                    expect(bool(self.labels), f"the labels of {self.name} are missing", f"name them, {example}")
                    return LabelFields(name=self.name, labels=self.labels, default=self.default)
                case "number":
                    expect(self.range is not None, f"the range of {self.name} is missing", f"give it, {example}")
                    low, high = self.range or (0.0, 1.0)
                    return NumberFields(name=self.name, minimum=low, maximum=high, default=self.default, unit=self.unit)
                case "vector":
                    expect(bool(self.dim), f"the number of values of {self.name} is missing", f"give it, {example}")
                    return VectorFields(name=self.name, dim=self.dim, default=self.default)
                case "image":
                    return ImageFields(name=self.name, channels=self.channels or 1)
                case _:
                    return None
        except ValueError as error:
            raise UsageError(reason_of(error), remedy=f"give another value, {example}") from error


def parse_condition(text: str) -> ConditionSpec:
    """Parse ``NAME=KIND`` or ``NAME=KIND:key=value,key=value``, as `--condition` takes it.

    Raises:
        UsageError: The text has another form, or a key or value is unknown.
    """
    start, colon, rest = text.partition(":")
    name, equals, kind = (part.strip() for part in start.partition("="))
    expect(
        bool(equals and name and kind),
        f"{text[:60]!r} is not a condition",
        f"give NAME=KIND:key=value,..., such as --condition '{_EXAMPLES['number']}'",
    )
    values: dict[str, Any] = {}
    for part in _NEXT_KEY.split(rest) if colon else ():
        key, found, value = (piece.strip() for piece in part.partition("="))
        expect(bool(found), f"{part[:60]!r} in the condition {name[:60]!r} is not key=value", "give key=value")
        expect(key not in values, f"the condition {name[:60]!r} has {key[:60]!r} twice", "give it once")
        values[key] = value
    return read_condition({"name": name, "kind": kind, **values})


def read_condition(values: Mapping[str, Any], folder: Path = Path()) -> ConditionSpec:
    """Read a condition from its keys, as a table ``[[condition]]`` of a TOML file has them.

    Args:
        values: ``name``, ``kind`` and the keys of the kind; text, or what TOML makes of numbers and lists.
        folder: Folder that the file of ``labels = "@FILE"`` is relative to.

    Raises:
        UsageError: A key or a value is unknown or missing.
    """
    found = dict(values)
    name, kind = found.pop("name", ""), found.pop("kind", "")
    expect(
        isinstance(name, str) and isinstance(kind, str) and bool(name),
        f"a condition has the name {str(name)[:60]!r} and the kind {str(kind)[:60]!r}",
        'give both as text, such as name = "sigma" and kind = "number"',
    )
    known = _KEYS.get(kind, ())
    for key in found:
        expect(
            not known or key in known,
            f"a condition of kind {kind} has no {key[:60]!r}",
            f"give {', '.join(known)}",
        )
    read = {
        ("form" if key == "as" else key): _READERS[key](kind, f"{key} of {name[:60]}", value, folder)
        for key, value in found.items()
        if key in _READERS
    }
    if kind == "vector" and isinstance(read.get("default"), float):
        read["default"] = (read["default"],) * read.get("dim", 1)
    return ConditionSpec(name=name, kind=kind, **read)


def _text(_: str, what: str, value: Any, __: Path) -> str:
    expect(isinstance(value, str | int) and not isinstance(value, bool), f"{what} is {repr(value)[:60]}", "give text")
    return str(value)


def _form(_: str, what: str, value: Any, __: Path) -> str:
    text = _text(_, what, value, __).replace(" ", "")
    return {"plane": "planes"}.get(text, text)


def _whole(_: str, what: str, value: Any, __: Path) -> int:
    text = str(value)
    expect(
        not isinstance(value, bool) and text.isascii() and text.isdigit() and len(text) < 9,
        f"{what} is {repr(value)[:60]}",
        "give a whole number",
    )
    return int(text)


def _number(_: str, what: str, value: Any, __: Path) -> float:
    return parse_number(str(value) if type(value) in (int, float) else _text(_, what, value, __), what)


def _range(_: str, what: str, value: Any, __: Path) -> ValueRange:
    if isinstance(value, list) and len(value) == 2 and all(type(one) in (int, float) for one in value):
        value = f"{value[0]}..{value[1]}"
    return parse_range(_text(_, what, value, __))


def _labels(_: str, what: str, value: Any, folder: Path) -> tuple[str, ...]:
    if isinstance(value, list):
        expect(all(isinstance(one, str) for one in value), f"{what} are not all text", "give a list of names")
        return tuple(value)
    text = _text(_, what, value, folder)
    if not text.startswith("@"):
        return tuple(part.strip() for part in text.split("|"))
    path = folder / text[1:]
    try:
        lines = read_limited(path, _MAX_LABELS_BYTES).decode("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or reason_of(error)
        raise UsageError(f"{path} cannot be read ({reason})", remedy="give a file with one label a line") from error
    return tuple(line.strip() for line in lines if line.strip())


def _default(kind: str, what: str, value: Any, folder: Path) -> Any:
    if kind == "label":
        return _text(kind, what, value, folder)
    if kind == "vector" and (isinstance(value, list) or "|" in str(value)):
        parts = value if isinstance(value, list) else str(value).split("|")
        return tuple(_number(kind, what, part, folder) for part in parts)
    return _number(kind, what, value, folder)


_READERS: Mapping[str, Callable[[str, str, Any, Path], Any]] = {
    "argument": _text,
    "as": _form,
    "range": _range,
    "default": _default,
    "unit": _text,
    "labels": _labels,
    "scale": _number,
    "dim": _whole,
    "channels": _whole,
}
"""Key of a condition -> the function that reads its value from text or TOML."""
