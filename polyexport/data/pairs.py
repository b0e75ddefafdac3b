"""Paired data sets on disk: outline drawings, a color for each, and the drawings filled with it.

    inputs/   outputs/   data.json

``data.json`` is a list of ``{"input_polygon": name, "colour": color, "output_image": name}``; the names are relative to
``inputs/`` and ``outputs/``. A color is any text that ``polyexport.imaging.color`` reads. An entry may give its
``"shape"``; without it, the shape is the first run of letters in the name of the input.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyexport.errors import ColorError, DatasetError, ImageError, UsageError, reason_of
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.color import Color, parse_color
from polyexport.imaging.pixels import Pixels, read_image
from polyexport.storage.file_set import open_file_set
from polyexport.storage.files import read_limited
from polyexport.storage.strict_json import read_json

__all__ = ["Pair", "PairPixels", "entry_color", "read_pair", "read_pairs", "read_splits", "write_pairs"]

INDEX = "data.json"
INPUTS = "inputs"
OUTPUTS = "outputs"
MAX_INDEX_BYTES = 64 * 1024 * 1024
MAX_INDEX_VALUES = 4_000_000  # a million entries of three members
MAX_SHAPE_LENGTH = 64

# The published data set in this layout calls (0, 255, 0) green, which CSS calls lime. Hex names any other green.
_LAYOUT_NAMES = {"green": (0, 255, 0)}

_LETTERS = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """One entry of a data set; both files exist."""

    input: Path
    """The outline drawing."""

    color: Color
    """Fill color."""

    output: Path
    """The target: the filled drawing."""

    shape: str = ""
    """Name of the drawn shape, for grouping: from the entry or from the input's file name; empty without either."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairPixels:
    """A decoded pair of images of one size."""

    image: Pixels
    """The outline drawing, uint8 [H, W, 3]."""

    color: Color
    """Fill color."""

    colored: Pixels
    """The target, uint8 [H, W, 3]."""

    shape: str = ""
    """Name of the drawn shape, for grouping; see ``Pair.shape``."""


def read_pairs(folder: Path) -> list[Pair]:
    """Read and check the index of a data set, which may come from an untrusted source.

    Raises:
        DatasetError: The index is missing, too large or not valid JSON, or an entry lacks a key, has an unknown color,
            or names a file that is missing or outside the folder. The message names the first such fault.
    """
    return [_pair(folder, number, entry) for number, entry in enumerate(_entries(folder))]


def _entries(folder: Path) -> list[Any]:
    """Read the index of a data set; raises DatasetError if it is not a list."""
    index = folder / INDEX
    layout = f"expected {INPUTS}/, {OUTPUTS}/ and {INDEX}"
    try:
        entries = read_json(read_limited(index, MAX_INDEX_BYTES), max_values=MAX_INDEX_VALUES)
    except OSError as error:
        raise DatasetError(f"{index} cannot be read ({error.strerror})", remedy=layout) from error
    except ValueError as error:
        raise DatasetError(f"{index} is not JSON ({reason_of(error)})", remedy=layout) from error
    if not isinstance(entries, list) or not entries:
        raise DatasetError(f"{index} is not a list of entries", remedy=layout)
    return entries


def read_splits(folders: Iterable[Path]) -> dict[str, list[Pair]]:
    """Read the indexes of several data sets.

    A folder with an index is one data set. In a folder without an index, every subfolder that is not hidden must be a
    data set.

    Returns:
        The pairs of each data set under the name of its folder, or under its path where two folders have the same name.

    Raises:
        DatasetError: An index cannot be used; see ``read_pairs``.
    """
    read = [(each, read_pairs(each)) for folder in folders for each in _sets_in(folder)]
    sets = {folder.resolve(): (folder, pairs) for folder, pairs in read}
    names = [resolved.name for resolved in sets]
    return {
        resolved.name if names.count(resolved.name) == 1 else str(folder): pairs
        for resolved, (folder, pairs) in sets.items()
    }


def _sets_in(folder: Path) -> list[Path]:
    try:
        if (folder / INDEX).exists():
            return [folder]
        subfolders = sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
        # Without an index in any subfolder, treat the folder as a data set whose index is missing.
        return subfolders if any((each / INDEX).exists() for each in subfolders) else [folder]
    except OSError:
        return [folder]  # read_pairs reports the error


def entry_color(text: str, parse: Callable[[str], Color] = parse_color) -> Color:
    """Parse the color of a data set's entry.

    Args:
        text: The entry's color. ``green`` means (0, 255, 0), as in the published data set.
        parse: Parser for every other text.

    Raises:
        ColorError: ``parse`` does not know the color.
    """
    name = text.strip().lower()
    return Color(name, _LAYOUT_NAMES[name]) if name in _LAYOUT_NAMES else parse(text)


def _pair(folder: Path, number: int, entry: object) -> Pair:
    where = f"{folder / INDEX}, entry {number}"
    keys = ("input_polygon", "colour", "output_image")
    if not isinstance(entry, dict) or any(not isinstance(entry.get(key), str) for key in keys):
        raise DatasetError(f"{where} is not an object with {', '.join(keys)} as text", remedy="correct the entry")
    input_name, color_name, output_name = (entry[key] for key in keys)
    try:
        color = entry_color(color_name)
    except ColorError as error:
        raise DatasetError(f"{where}: {error.message}", remedy=error.remedy) from error
    return Pair(
        input=_inside(folder / INPUTS, input_name, where),
        color=color,
        output=_inside(folder / OUTPUTS, output_name, where),
        shape=_shape(entry.get("shape", ""), where) or _shape_in(Path(input_name).stem),
    )


def _shape(value: object, where: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_SHAPE_LENGTH or not value.isprintable():
        raise DatasetError(
            f"{where}: its shape is not printable text of up to {MAX_SHAPE_LENGTH} characters",
            remedy="correct the shape or leave it out",
        )
    return value


def _shape_in(stem: str) -> str:
    """Return the first run of letters in a file name: ``star`` for ``star``, ``012_star`` and ``star_3_red``."""
    letters = _LETTERS.search(stem)
    return letters[0].lower()[:MAX_SHAPE_LENGTH] if letters else ""


def _inside(root: Path, name: str, where: str) -> Path:
    remedy = f"name a file inside {root}"
    try:
        path = (root / name).resolve()
        relative = not Path(name).is_absolute() and ".." not in Path(name).parts
        inside = relative and root.resolve() in path.parents
        exists = inside and path.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a link to itself
        raise DatasetError(f"{where}: {name!r} is not a usable path", remedy=remedy) from error
    if not inside:
        raise DatasetError(f"{where}: {name!r} leaves the data set", remedy=remedy)
    if not exists:
        raise DatasetError(f"{where}: {name!r} is missing", remedy=remedy)
    return path


def read_pair(pair: Pair) -> PairPixels:
    """Decode both images of a pair.

    Raises:
        DatasetError: An image cannot be read, or the two images differ in size.
    """
    try:
        image, colored = read_image(pair.input).pixels, read_image(pair.output).pixels
    except ImageError as error:
        raise DatasetError(f"{pair.input} or {pair.output}: {error.message}", remedy=error.remedy) from error
    if image.shape != colored.shape:
        raise DatasetError(
            f"{pair.input} is {image.shape[1]}x{image.shape[0]}, {pair.output} {colored.shape[1]}x{colored.shape[0]}",
            remedy="give both images the same size",
        )
    return PairPixels(image=image, color=pair.color, colored=colored, shape=pair.shape)


def write_pairs(
    folder: Path, sets: Mapping[str, Iterable[tuple[str, PairPixels]]], *, overwrite: bool = False, request: str = ""
) -> None:
    """Write data sets, all of them or nothing.

    A data set with an index is complete. Files that no data set lists are neither replaced nor removed.

    Args:
        folder: Folder to write into; created if it is missing.
        sets: Name of the folder of each data set below ``folder``, empty for ``folder`` itself -> pairs, each with a
            file name without suffix that is unique in its data set.
        overwrite: Allow replacing earlier data sets; the files that their indexes list are removed.
        request: Text that is the same for equal data sets. If a process was killed when it had made the data sets for
            the same request, and only moved their files to their names, that is completed, and nothing is made anew.

    Raises:
        UsageError: An earlier data set, or a file that none lists, may not be replaced.
        OutputError: A file cannot be written; earlier data sets are unchanged, see ``FileSetFolder.replace``.
    """
    with open_file_set(folder, index=INDEX, request=request) as files:
        if files.is_done:
            return
        earlier: set[str] = set()
        for name in sets:
            if os.path.lexists(folder / name / INDEX):
                if not overwrite:
                    raise UsageError(
                        f"{folder / name} already holds a data set", remedy="add --overwrite or name another folder"
                    )
                earlier.update((Path(name) / listed).as_posix() for listed in _listed(folder / name))
        files.replace(_encoded(sets), frozenset(earlier))


def _listed(folder: Path) -> Iterator[str]:
    """Yield the paths of the files of a data set, relative to its folder: the index and the files that it lists.

    Raises:
        UsageError: The index cannot be read, so it is unknown which files belong to the data set.
    """
    try:
        entries = _entries(folder)
    except DatasetError as error:
        raise UsageError(error.message, remedy="move it away or name another folder") from error
    yield INDEX
    inside: dict[Path, bool] = {}
    for subfolder, key in ((INPUTS, "input_polygon"), (OUTPUTS, "output_image")):
        root = folder / subfolder
        for entry in entries:
            name = entry.get(key) if isinstance(entry, dict) else None
            if not isinstance(name, str) or "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
                continue
            parent = (root / name).parent
            if parent not in inside:
                inside[parent] = parent.resolve().is_relative_to(root.resolve()) and not root.is_symlink()
            if inside[parent] and Path(name).name:
                yield f"{subfolder}/{name}"


def _encoded(sets: Mapping[str, Iterable[tuple[str, PairPixels]]]) -> Iterator[tuple[str, bytes]]:
    """Yield the path and the bytes of every file of data sets, the index of each last."""
    for folder, named in sets.items():
        entries = []
        for name, pair in named:
            input_name, output_name = f"{name}.png", f"{pair.color.name}_{name}.png"
            yield (Path(folder) / INPUTS / input_name).as_posix(), encode_png(pair.image)
            yield (Path(folder) / OUTPUTS / output_name).as_posix(), encode_png(pair.colored)
            color = "#{:02x}{:02x}{:02x}".format(*pair.color.rgb)
            entry = {"input_polygon": input_name, "colour": color, "output_image": output_name}
            entries.append(entry | ({"shape": pair.shape} if pair.shape else {}))
        yield (Path(folder) / INDEX).as_posix(), (json.dumps(entries, indent=1) + "\n").encode()
