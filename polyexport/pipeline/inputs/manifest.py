"""Manifests: files that list images and their colors, as a CSV or the index of a data set.

    image,color
    cats/tom.png,tomato
    dog.png,"rgb(255, 136, 0)"

The file is untrusted: the images that it names must lie in its folder or below.
"""

import csv
import functools
import io
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from polyexport.data.image_pairs import INDEX, INPUTS, MAX_INDEX_BYTES, MAX_INDEX_VALUES, entry_color
from polyexport.errors import PolyexportError, UsageError, reason_of
from polyexport.imaging.color import Color, parse_color
from polyexport.storage.files import read_limited
from polyexport.storage.strict_json import read_json

__all__ = ["Entry", "read_manifest"]

_IMAGE_COLUMNS = ("image", "input", "input_polygon")
_COLOR_COLUMNS = ("color", "colour")
_DELIMITERS = (",", ";", "\t")
_EXPECTED = 'expected a CSV with the columns "image" and "color", or a data.json'


@dataclass(frozen=True, slots=True)
class Entry:
    """One image and the color to give it."""

    source: str
    """Path to open; the file need not exist."""

    name: str
    """Path relative to the folder of the CSV or to ``inputs/``, with parts separated by ``/`` and the file's suffix."""

    color: Color


def read_manifest(path: Path, parse: Callable[[str], Color] = parse_color) -> list[Entry]:
    """Read a CSV, a ``data.json`` or a data set's folder, in its own order; a repeated entry counts once.

    A CSV is UTF-8 text with a header that has the columns ``image`` (or ``input``, ``input_polygon``) and ``color`` (or
    ``colour``); other columns are ignored. Fields are separated by commas, semicolons or tabs, may be quoted, and may
    begin with spaces. Paths in a CSV are relative to its folder, those in a ``data.json`` to the folder ``inputs``
    beside it. An image need not exist: it fails alone when it is read.

    Args:
        path: a ``.json`` file, any other file for a CSV, or a folder with a ``data.json``.
        parse: converts text to a color; raises a ``PolyexportError`` for text that is not a color.

    Raises:
        UsageError: an unreadable file, one of more than 64 MiB or of another kind, no entry, or an entry with missing
            values, an unknown color, or a path that leaves its folder; the message names the first of them.
    """
    file = path / INDEX if path.is_dir() else path
    try:
        data = read_limited(file, MAX_INDEX_BYTES)
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or reason_of(error)
        raise UsageError(f"{file} cannot be read ({reason})", remedy=_EXPECTED) from error
    colors = functools.lru_cache(maxsize=4096)(parse)  # a file of many rows has few colors
    if file.suffix.lower() == ".json":
        rows = _entries(_Root(file.parent / INPUTS), _index_rows(file, data), lambda text: entry_color(text, colors))
    else:
        rows = _entries(_Root(file.parent), _csv_rows(file, data), colors)
    entries = dict.fromkeys(rows)
    if not entries:
        raise UsageError(f"{file} names no image", remedy=_EXPECTED)
    return list(entries)


_Row = tuple[str, str, str]
"""Place in the file, image path and color text of one row."""


def _entries(root: "_Root", rows: Iterable[_Row], read: Callable[[str], Color]) -> Iterator[Entry]:
    for where, image, color_text in rows:
        try:
            color = read(color_text)
        except PolyexportError as error:
            raise UsageError(f"{where}: {error.message}", remedy=error.remedy) from error
        source, name = root.inside(image, where)
        yield Entry(source, name, color)


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


def _index_rows(file: Path, data: bytes) -> Iterator[_Row]:
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
        yield where, entry["input_polygon"], entry["colour"]


def _csv_rows(file: Path, data: bytes) -> Iterator[_Row]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 text", remedy="save it as CSV in UTF-8") from error
    for delimiter in _DELIMITERS:
        rows = _records(file, text, delimiter)
        try:
            _, header = next(rows, (0, []))
        except UsageError:
            continue  # a quote is followed by another delimiter
        columns = [name.strip().lower() for name in header]
        images = [number for number, name in enumerate(columns) if name in _IMAGE_COLUMNS]
        colors = [number for number, name in enumerate(columns) if name in _COLOR_COLUMNS]
        if images and colors:
            break
    else:
        raise UsageError(
            f'{file} has no header with the columns "image" and "color"', remedy="let its first line be image,color"
        )
    if len(images) + len(colors) > 2:
        raise UsageError(
            f"the header of {file} has several columns for the image or the color", remedy="leave one of each"
        )
    for line, row in rows:
        where = f"{file}, line {line}"
        if len(row) < len(columns) or any(field.strip() for field in row[len(columns) :]):
            raise UsageError(
                f"{where} has {len(row)} fields, the header {len(columns)}",
                remedy=f'put quotes around fields that hold {delimiter!r}, as in "rgb(255, 136, 0)"',
            )
        yield where, row[images[0]], row[colors[0]]


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
