"""Manifests: files that list images and the values of the model's conditions, as a CSV or the index of a data set.

    image,color
    cats/tom.png,tomato
    dog.png,"rgb(255, 136, 0)"

The file is untrusted: the images that it names must lie in its folder or below.
"""

import csv
import functools
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from polyexport.data.image_pairs import INDEX, INPUTS, MAX_INDEX_BYTES, MAX_INDEX_VALUES, entry_color
from polyexport.errors import PolyexportError, UsageError, reason_of
from polyexport.imaging.color import Color
from polyexport.model.conditions.color_condition import ColorCondition
from polyexport.model.conditions.condition import Condition
from polyexport.model.settings import Setting, describe_conditions, parse_settings
from polyexport.storage.files import read_limited
from polyexport.storage.strict_json import read_json

__all__ = ["Entry", "read_manifest"]

_IMAGE_COLUMNS = ("image", "input", "input_polygon")
_COLOR_COLUMNS = ("color", "colour")
_DELIMITERS = (",", ";", "\t")

Conditions = Sequence[Condition[Any]]


@dataclass(frozen=True, slots=True)
class Entry:
    """One output of one image."""

    source: str
    """Path to open; the file need not exist."""

    name: str
    """Path relative to the folder of the CSV or to ``inputs/``, with parts separated by ``/`` and the file's suffix."""

    setting: Setting
    """Values of the model's conditions."""

    pictures: tuple[tuple[str, str], ...] = ()
    """Name of each condition that is a picture and has a column, and the path to open."""


def read_manifest(
    path: Path, conditions: Conditions, *, assignments: Sequence[str] = (), paired: Sequence[str] = ()
) -> list[Entry]:
    """Read a CSV, a ``data.json`` or a data set's folder, in its own order; a repeated entry counts once.

    A CSV is UTF-8 text with a header that has the column ``image`` (or ``input``, ``input_polygon``) and one for each
    condition: ``color`` (or ``colour``) for a color, the condition's name for all others. A condition that has a
    default or is given in another way needs no column, and an empty field means the default; other columns are
    ignored. Fields are separated by commas, semicolons or tabs, may be quoted, and may begin with spaces. Paths in a
    CSV are relative to its folder, those in a ``data.json`` to the folder ``inputs`` beside it. An image need not
    exist: it fails alone when it is read.

    Args:
        path: a ``.json`` file, any other file for a CSV, or a folder with a ``data.json``.
        conditions: conditions of the model.
        assignments: ``NAME=VALUE`` each, for every image, for conditions without a column.
        paired: names of the pictures that are given in another way.

    Returns:
        One entry for each output.

    Raises:
        UsageError: an unreadable file, one of more than 64 MiB or of another kind, no entry, or an entry with missing
            values, an unknown color, or a path that leaves its folder; the message names the first of them.
    """
    file = path / INDEX if path.is_dir() else path
    try:
        data = read_limited(file, MAX_INDEX_BYTES)
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or reason_of(error)
        raise UsageError(f"{file} cannot be read ({reason})", remedy=_expected(conditions)) from error
    settings = _Settings(conditions, assignments)
    given = {*settings.given, *paired}
    if file.suffix.lower() == ".json":
        rows, read, root = _index_rows(file, data, conditions), settings.of_index, _Root(file.parent / INPUTS)
    else:
        rows, read, root = _csv_rows(file, data, conditions, given), settings.of_row, _Root(file.parent)
    entries = dict.fromkeys(_entries(root, rows, read, {one.name for one in conditions if not one.textual}))
    if not entries:
        raise UsageError(f"{file} names no image", remedy=_expected(conditions))
    return list(entries)


@dataclass(frozen=True, slots=True)
class _Row:
    where: str
    """Place in the file."""

    image: str
    values: tuple[tuple[str, str], ...]
    """Name of each condition that has a column, and the text of its field."""


class _Settings:
    """Reads the settings of rows; a file of many rows has few."""

    def __init__(self, conditions: Conditions, assignments: Sequence[str]) -> None:
        self._conditions = conditions
        self._assignments = assignments
        self._color = next((one.name for one in conditions if isinstance(one, ColorCondition)), "")
        self._textual = {one.name: one for one in conditions if one.textual}
        self.given = {text.partition("=")[0].strip() for text in assignments}
        self.of_row = functools.lru_cache(maxsize=4096)(self._of_row)
        self.of_index = functools.lru_cache(maxsize=4096)(self._of_index)

    def _of_row(self, values: tuple[tuple[str, str], ...]) -> list[Setting]:
        """Read the settings of the fields of a CSV."""
        colors = [text for name, text in values if name == self._color]
        others = [
            f"{name}={text}"
            for name, text in values
            if name in self._textual and name != self._color and (text.strip() or self._textual[name].default is None)
        ]
        return parse_settings(self._conditions, colors=colors, assignments=[*self._assignments, *others])

    def _of_index(self, values: tuple[tuple[str, str], ...]) -> list[Setting]:
        """Read the settings of an entry of a ``data.json``, whose names of colors are those of data sets."""
        [(name, text)] = values

        def parse(other: str) -> Color:
            color = self._textual[name].parse(other)
            assert isinstance(color, Color)
            return color

        color = entry_color(text, parse)
        return parse_settings(self._conditions, colors=[color], assignments=self._assignments)


def _entries(
    root: "_Root",
    rows: Iterable[_Row],
    read: Callable[[tuple[tuple[str, str], ...]], list[Setting]],
    pictures: set[str],
) -> Iterator[Entry]:
    for row in rows:
        try:
            settings = read(tuple(value for value in row.values if value[0] not in pictures))
        except PolyexportError as error:
            raise UsageError(f"{row.where}: {error.message}", remedy=error.remedy) from error
        source, name = root.inside(row.image, row.where)
        seconds = tuple((own, root.inside(text, row.where)[0]) for own, text in row.values if own in pictures)
        for setting in settings:
            yield Entry(source, name, setting, seconds)


class _Root:
    """Folder that every image must lie in."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._real = os.path.realpath(folder)
        self._real_of = functools.lru_cache(maxsize=4096)(os.path.realpath)

    def inside(self, text: str, where: str) -> tuple[str, str]:
        """Return the path to open and the name.

        Raises:
            UsageError: a path that is absolute, has ``..``, or leaves the folder through a link.
        """
        shown = repr(text if len(text) <= 100 else text[:100] + "...")
        remedy = f"name a file inside {self._folder}"
        try:
            os.fsencode(text)
        except UnicodeEncodeError as error:
            raise UsageError(f"{where}: {shown} is not a usable path", remedy=remedy) from error
        relative = PurePath(text)
        if "\0" in text or not relative.name or relative.anchor or ".." in relative.parts:
            raise UsageError(f"{where}: {shown} is not a path inside the folder", remedy=remedy)
        path = self._folder / relative
        try:
            link = path.is_symlink()
        except OSError:
            link = False  # for instance a name that is too long, which fails when it is read
        real = os.path.realpath(path) if link else str(Path(self._real_of(path.parent), relative.name))
        if Path(self._real) not in Path(real).parents:
            raise UsageError(f"{where}: {shown} leaves the folder", remedy=remedy)
        return str(path), relative.as_posix()


def _index_rows(file: Path, data: bytes, conditions: Conditions) -> Iterator[_Row]:
    color = next((one.name for one in conditions if isinstance(one, ColorCondition)), None)
    if color is None:
        raise UsageError(
            f"{file} gives colors, and the model takes {describe_conditions(conditions)}", remedy="give a CSV"
        )
    keys = ("input_polygon", "colour")
    try:
        entries = read_json(data, max_values=MAX_INDEX_VALUES)
    except ValueError as error:
        raise UsageError(f"{file} is not JSON ({reason_of(error)})", remedy="correct the file") from error
    if not isinstance(entries, list):
        raise UsageError(
            f"{file} is not a list of entries", remedy=f"write a list of objects with {' and '.join(keys)}"
        )
    for number, entry in enumerate(entries):
        where = f"{file}, entry {number}"
        if not isinstance(entry, dict) or any(not isinstance(entry.get(key), str) for key in keys):
            raise UsageError(f"{where} is not an object with {' and '.join(keys)} as text", remedy="correct the entry")
        yield _Row(where, entry["input_polygon"], ((color, entry["colour"]),))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Columns:
    """Columns of a CSV by their numbers."""

    count: int
    images: list[int]
    conditions: Mapping[str, list[int]] = field(default_factory=dict)
    """Columns of each condition that has one."""

    @classmethod
    def of(cls, header: Sequence[str], conditions: Conditions) -> "_Columns":
        names = [name.strip().lower() for name in header]
        found = {
            one.name: [number for number, name in enumerate(names) if name in _column_names(one)] for one in conditions
        }
        taken = {number for numbers in found.values() for number in numbers}
        images = [number for number, name in enumerate(names) if name in _IMAGE_COLUMNS and number not in taken]
        return cls(
            count=len(names), images=images, conditions={name: numbers for name, numbers in found.items() if numbers}
        )


def _column_names(condition: Condition[Any]) -> tuple[str, ...]:
    return (*_COLOR_COLUMNS, condition.name) if isinstance(condition, ColorCondition) else (condition.name,)


def _csv_rows(file: Path, data: bytes, conditions: Conditions, given: set[str]) -> Iterator[_Row]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 text", remedy="save it as CSV in UTF-8") from error
    needed = {one.name for one in conditions if one.default is None and one.name not in given}
    for delimiter in _DELIMITERS:
        rows = _records(file, text, delimiter)
        try:
            _, header = next(rows, (0, []))
        except UsageError:
            continue  # a quote is followed by another delimiter
        columns = _Columns.of(header, conditions)
        if columns.images and needed <= columns.conditions.keys():
            break
    else:
        wanted = ["image", *(_column_names(one)[0] for one in conditions if one.name in needed)]
        raise UsageError(
            f"{file} has no header with the column{'s' * (len(wanted) > 1)} {_quoted(wanted)}",
            remedy=f"let its first line be {','.join(wanted)}",
        )
    for what, numbers in (("the image", columns.images), *columns.conditions.items()):
        if len(numbers) > 1:
            raise UsageError(f"the header of {file} has several columns for {what}", remedy="leave one of each")
    if twice := sorted(given & columns.conditions.keys()):
        raise UsageError(
            f"{twice[0]} has a column in {file} and is given by an option", remedy="give it in one of these ways"
        )
    for line, row in rows:
        where = f"{file}, line {line}"
        if len(row) < columns.count or any(rest.strip() for rest in row[columns.count :]):
            raise UsageError(
                f"{where} has {len(row)} fields, the header {columns.count}",
                remedy=f'put quotes around fields that hold {delimiter!r}, as in "rgb(255, 136, 0)"',
            )
        values = tuple((name, row[numbers[0]]) for name, numbers in columns.conditions.items())
        yield _Row(where, row[columns.images[0]], values)


def _expected(conditions: Conditions) -> str:
    names = ["image", *(_column_names(one)[0] for one in conditions if one.default is None)]
    index = ", or a data.json" if any(isinstance(one, ColorCondition) for one in conditions) else ""
    return f"expected a CSV with the column{'s' * (len(names) > 1)} {_quoted(names)}{index}"


def _quoted(names: Sequence[str]) -> str:
    return " and ".join(f'"{name}"' for name in names)


def _records(file: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not blank, with the number of its last line."""
    # Without strict, a quote that is never closed swallows the rest of the file.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        for row in reader:
            if any(field.strip() for field in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise UsageError(
            f"{file}, line {reader.line_num} is not a CSV ({reason_of(error)})", remedy="correct its quotes"
        ) from error
