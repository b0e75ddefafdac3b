"""Paired data sets on disk: an outline drawing, a colour, and the drawing filled with it.

    inputs/   outputs/   data.json

``data.json`` is a list of ``{"input_polygon": name, "colour": color, "output_image": name}``; the names are relative to
``inputs/`` and ``outputs/``. A color is anything that ``polyexport.imaging.color`` reads. An entry may say its
``"shape"``; if it does not, the first letters in the name of its input do.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from polyexport.errors import ColorError, DatasetError, ImageError, OutputError
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.color import Color, parse_color
from polyexport.imaging.pixels import Pixels, read_image
from polyexport.storage.files import read_limited, write_atomic

__all__ = ["Pair", "PairPixels", "entry_color", "read_pair", "read_pairs", "read_splits", "write_pairs"]

INDEX = "data.json"
INPUTS = "inputs"
OUTPUTS = "outputs"
MAX_INDEX_BYTES = 64 * 1024 * 1024
MAX_SHAPE_LENGTH = 64

# The published set in this layout says green for full green, which CSS calls lime. Write hex to mean another green.
_LAYOUT_NAMES = {"green": (0, 255, 0)}

_LETTERS = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """One entry of a data set: files that exist."""

    input: Path
    color: Color
    output: Path
    shape: str = ""
    """What is drawn, for grouping: the entry's word, or the first letters of the input's name; empty without either."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairPixels:
    """A pair, decoded: uint8 [H, W, 3] both, of one size."""

    image: Pixels
    color: Color
    colored: Pixels
    shape: str = ""
    """See ``Pair.shape``."""


def read_pairs(folder: Path) -> list[Pair]:
    """Read a data set's index, untrusted.

    Raises:
        DatasetError: no or too large an index, wrong JSON, an entry with missing keys, an unknown colour, a missing
            file or a path out of the folder; the message names the first of them.
    """
    index = folder / INDEX
    layout = f"expected {INPUTS}/, {OUTPUTS}/ and {INDEX}"
    try:
        entries = json.loads(read_limited(index, MAX_INDEX_BYTES))
    except OSError as error:
        raise DatasetError(f"{index} cannot be read ({error.strerror})", remedy=layout) from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{index} is not JSON", remedy=layout) from error
    if not isinstance(entries, list) or not entries:
        raise DatasetError(f"{index} is not a list of entries", remedy=layout)
    return [_pair(folder, number, entry) for number, entry in enumerate(entries)]


def read_splits(folders: Iterable[Path]) -> dict[str, list[Pair]]:
    """Read data sets by name, untrusted.

    A folder with an index is one data set; in a folder without, every subfolder must be one, hidden ones aside.

    Returns:
        The pairs of each data set under the name of its folder, or under its path where two have one name.

    Raises:
        DatasetError: see ``read_pairs``.
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
        # With an index in none of them, the folder is a data set that lacks its own.
        return subfolders if any((each / INDEX).exists() for each in subfolders) else [folder]
    except OSError:
        return [folder]  # read_pairs says why


def entry_color(text: str, parse: Callable[[str], Color] = parse_color) -> Color:
    """What an entry says for its colour, in which ``green`` is full green; all else is read by ``parse``.

    Raises:
        ColorError: from ``parse``.
    """
    name = text.strip().lower()
    return Color(name, _LAYOUT_NAMES[name]) if name in _LAYOUT_NAMES else parse(text)


def _pair(folder: Path, number: int, entry: object) -> Pair:
    where = f"{folder / INDEX}, entry {number}"
    keys = ("input_polygon", "colour", "output_image")
    if not isinstance(entry, dict) or any(not isinstance(entry.get(key), str) for key in keys):
        raise DatasetError(f"{where} is not an object with {', '.join(keys)} as text", remedy="mend the entry")
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
            f"{where}: its shape is no printable text of up to {MAX_SHAPE_LENGTH} characters",
            remedy="mend the shape or leave it out",
        )
    return value


def _shape_in(stem: str) -> str:
    """``star``, ``012_star`` and ``star_3_red`` all name a star."""
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
        raise DatasetError(f"{where}: {name!r} is no usable path", remedy=remedy) from error
    if not inside:
        raise DatasetError(f"{where}: {name!r} leaves the data set", remedy=remedy)
    if not exists:
        raise DatasetError(f"{where}: {name!r} is missing", remedy=remedy)
    return path


def read_pair(pair: Pair) -> PairPixels:
    """Decode a pair.

    Raises:
        DatasetError: an image that cannot be read, or two images of different sizes.
    """
    try:
        image, colored = read_image(pair.input).pixels, read_image(pair.output).pixels
    except ImageError as error:
        raise DatasetError(f"{pair.input} or {pair.output}: {error.message}", remedy=error.remedy) from error
    if image.shape != colored.shape:
        raise DatasetError(
            f"{pair.input} is {image.shape[1]}x{image.shape[0]}, {pair.output} {colored.shape[1]}x{colored.shape[0]}",
            remedy="give both images one size",
        )
    return PairPixels(image=image, color=pair.color, colored=colored, shape=pair.shape)


def _remove(folder: Path) -> None:
    """The index of a data set, then the files that it named."""
    try:
        pairs = read_pairs(folder) if (folder / INDEX).exists() else []
    except DatasetError:
        pairs = []  # nobody knows which files belonged to it
    try:
        (folder / INDEX).unlink(missing_ok=True)
        for file in {file for pair in pairs for file in (pair.input, pair.output)}:
            file.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot replace {folder} ({error.strerror})", remedy="choose another folder") from error


def write_pairs(folder: Path, named: Iterable[tuple[str, PairPixels]]) -> None:
    """Write a data set in place of the one that stands there.

    The old index goes first and the new one comes last, so a set with an index is whole.

    Args:
        named: a name without suffix for each pair, unique.

    Raises:
        OutputError: a file cannot be written.
    """
    _remove(folder)
    entries = []
    for name, pair in named:
        input_name, output_name = f"{name}.png", f"{pair.color.name}_{name}.png"
        write_atomic(folder / INPUTS / input_name, encode_png(pair.image))
        write_atomic(folder / OUTPUTS / output_name, encode_png(pair.colored))
        color = "#{:02x}{:02x}{:02x}".format(*pair.color.rgb)
        entry = {"input_polygon": input_name, "colour": color, "output_image": output_name}
        entries.append(entry | ({"shape": pair.shape} if pair.shape else {}))
    write_atomic(folder / INDEX, (json.dumps(entries, indent=1) + "\n").encode())
