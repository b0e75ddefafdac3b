"""Image pairs on disk: pictures, and what a network is to make of each.

    inputs/   outputs/   data.json

``data.json`` is a list of ``{"input_polygon": name, "output_image": name}``; the names are relative to ``inputs/`` and
``outputs/``. All entries have a ``"colour"``, which is any text that ``polyexport.imaging.color`` reads, or all have a
``"label"``, or none has either. An entry may give its ``"shape"``; without it, the shape is the first run of letters in
the name of the input.

Without a ``data.json``, every image below ``inputs/`` is paired with the one below ``outputs/`` of the same relative
path. Their suffixes may differ.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from polyexport.errors import ColorError, DatasetError, ImageError, reason_of
from polyexport.imaging.codecs import SUFFIXES
from polyexport.imaging.color import Color, parse_color
from polyexport.imaging.names import LABEL_NAME
from polyexport.imaging.pixels import Pixels, read_image
from polyexport.storage.files import read_limited
from polyexport.storage.strict_json import read_json

__all__ = [
    "INDEX",
    "INPUTS",
    "MAX_INDEX_BYTES",
    "MAX_INDEX_VALUES",
    "OUTPUTS",
    "ImagePair",
    "PairKind",
    "entry_color",
    "read_image_pairs",
    "read_images",
    "read_index",
    "read_indexed_pairs",
]

INDEX = "data.json"
INPUTS = "inputs"
OUTPUTS = "outputs"
MAX_INDEX_BYTES = 64 * 1024 * 1024
MAX_INDEX_VALUES = 4_000_000  # a million entries of three members
MAX_SHAPE_LENGTH = 64

# The published data set in this layout calls (0, 255, 0) green, which CSS calls lime. Hex names any other green.
_LAYOUT_NAMES = {"green": (0, 255, 0)}

_LETTERS = re.compile(r"[^\W\d_]+")

PairKind = Literal["color", "label", "none"]
"""Kind of the condition that a pair has beside its two images."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImagePair:
    """Two images, and the condition under which a network is to make the second from the first; both files exist."""

    input: Path
    """The picture that the network gets."""

    condition: Color | str | None
    """A color, the text of a label, or None for a network that gets nothing but the picture."""

    output: Path
    """The target."""

    shape: str = ""
    """Name of the drawn shape, for grouping: from the entry or from the input's file name; empty without either."""

    @property
    def kind(self) -> PairKind:
        """Kind of the condition."""
        if self.condition is None:
            return "none"
        return "label" if isinstance(self.condition, str) else "color"


def read_image_pairs(folder: Path) -> list[ImagePair]:
    """Read and check a data set, which may come from an untrusted source.

    Returns:
        The pairs in the order of the index, or without an index in the order of their paths; all of one kind.

    Raises:
        DatasetError: The index cannot be used, see ``read_indexed_pairs``; or there is none, and an image has no
            counterpart or several, or no folder of images is there.
    """
    try:
        has_index = os.path.lexists(folder / INDEX)
        has_folders = all((folder / part).is_dir() for part in (INPUTS, OUTPUTS))
    except OSError as error:
        raise DatasetError(f"{folder} cannot be read ({error.strerror})", remedy="check its permissions") from error
    if has_index:
        return read_indexed_pairs(folder)
    if not has_folders:
        raise DatasetError(
            f"{folder} is not a data set",
            remedy=f"give a folder with {INPUTS}/ and {OUTPUTS}/, and with {INDEX} unless their files have equal names",
        )
    return _pairs_by_path(folder)


def read_indexed_pairs(folder: Path) -> list[ImagePair]:
    """Read and check the index of a data set, which may come from an untrusted source.

    Raises:
        DatasetError: The index is missing, too large or not valid JSON, or an entry lacks a name, has an unknown color,
            an unusable label, both, or another kind of condition than the first one, or names a file that is missing or
            outside the folder. The message names the first such fault.
    """
    pairs: list[ImagePair] = []
    for number, entry in enumerate(read_index(folder)):
        pair = _pair(folder, number, entry)
        if pairs and pair.kind != pairs[0].kind:
            has = {"color": "a color", "label": "a label", "none": "neither a color nor a label"}
            raise DatasetError(
                f"{folder / INDEX}, entry {number} has {has[pair.kind]}, entry 0 has {has[pairs[0].kind]}",
                remedy="give every entry a color, or every entry a label, or no entry either",
            )
        pairs.append(pair)
    return pairs


def read_index(folder: Path) -> list[Any]:
    """Read the index of a data set as a list of unchecked entries.

    Raises:
        DatasetError: The index is missing, too large, not valid JSON, or not a list with entries.
    """
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


def _pair(folder: Path, number: int, entry: object) -> ImagePair:
    where = f"{folder / INDEX}, entry {number}"
    keys = ("input_polygon", "output_image")
    if not isinstance(entry, dict) or any(not isinstance(entry.get(key), str) for key in keys):
        raise DatasetError(f"{where} is not an object with {' and '.join(keys)} as text", remedy="correct the entry")
    input_name, output_name = (entry[key] for key in keys)
    return ImagePair(
        input=_inside(folder / INPUTS, input_name, where),
        condition=_condition(entry, where),
        output=_inside(folder / OUTPUTS, output_name, where),
        shape=_shape(entry.get("shape", ""), where) or _shape_in(Path(input_name).stem),
    )


def _condition(entry: dict[str, Any], where: str) -> Color | str | None:
    """Read the color or the label of an entry."""
    if "label" in entry:
        if "colour" in entry:
            raise DatasetError(f"{where} has a color and a label", remedy="leave one of them out")
        label = entry["label"]
        if not isinstance(label, str) or not LABEL_NAME.fullmatch(label):
            raise DatasetError(
                f"{where}: its label must be text of letters, digits, underscores, spaces, dots and hyphens, up to 64, "
                f"with a letter or digit at both ends, got {repr(label)[:70]}",
                remedy="correct the label",
            )
        return label
    if "colour" not in entry:
        return None
    if not isinstance(entry["colour"], str):
        raise DatasetError(f"{where}: its color is not text", remedy="correct the entry")
    try:
        return entry_color(entry["colour"])
    except ColorError as error:
        raise DatasetError(f"{where}: {error.message}", remedy=error.remedy) from error


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


def _pairs_by_path(folder: Path) -> list[ImagePair]:
    """Pair the images below ``inputs/`` and ``outputs/`` by their relative paths."""
    inputs, outputs = (_images_by_name(folder / part) for part in (INPUTS, OUTPUTS))
    alone = sorted(inputs.keys() ^ outputs.keys())
    if alone:
        here, there = (INPUTS, OUTPUTS) if alone[0] in inputs else (OUTPUTS, INPUTS)
        path = (inputs | outputs)[alone[0]]
        more = f", and so have {len(alone) - 1} others" if len(alone) > 1 else ""
        raise DatasetError(
            f"{folder}: {here}/{path} has no counterpart in {there}/{more}",
            remedy=f"give every image in {INPUTS}/ one of the same path in {OUTPUTS}/, or list the pairs in {INDEX}",
        )
    if not inputs:
        raise DatasetError(f"{folder / INPUTS} holds no images", remedy=f"give images of {', '.join(sorted(SUFFIXES))}")
    return [
        ImagePair(
            input=_inside(folder / INPUTS, inputs[name], str(folder)),
            condition=None,
            output=_inside(folder / OUTPUTS, outputs[name], str(folder)),
            shape=_shape_in(Path(name).name),
        )
        for name in sorted(inputs)
    ]


def _images_by_name(root: Path) -> dict[str, str]:
    """Return the relative path of every image below a folder, under that path without its suffix.

    Files and folders whose names begin with a dot are left out, and links to folders are not followed.
    """
    found: dict[str, str] = {}

    def refuse(error: OSError) -> None:
        raise DatasetError(f"{error.filename} cannot be read ({error.strerror})", remedy="check its permissions")

    for directory, subfolders, files in os.walk(root, onerror=refuse):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for file in files:
            path = (Path(directory) / file).relative_to(root)
            if file.startswith(".") or path.suffix.lower() not in SUFFIXES:
                continue
            name, other = path.with_suffix("").as_posix(), path.as_posix()
            if name in found:
                pair = " and ".join(sorted((found[name], other)))
                raise DatasetError(
                    f"{root} holds {pair}, which differ in their suffix alone", remedy="give each a name of its own"
                )
            found[name] = other
    return found


def read_images(input_path: Path, output_path: Path) -> tuple[Pixels, Pixels]:
    """Decode the two images of a pair, uint8 [H, W, 3].

    Raises:
        DatasetError: An image cannot be read, or the two images differ in size.
    """
    decoded = []
    for path in (input_path, output_path):
        try:
            decoded.append(read_image(path).pixels)
        except ImageError as error:
            raise DatasetError(f"{path}: {error.message}", remedy=error.remedy) from error
    image, target = decoded
    if image.shape != target.shape:
        raise DatasetError(
            f"{input_path} is {image.shape[1]}x{image.shape[0]}, {output_path} {target.shape[1]}x{target.shape[0]}",
            remedy="give both images the same size",
        )
    return image, target
