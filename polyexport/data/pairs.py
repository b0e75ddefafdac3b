"""Data sets of outline drawings, a color for each, and the drawings filled with it.

They are the image pairs of ``polyexport.data.image_pairs`` whose condition is a color.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from polyexport.data.image_pairs import INDEX, INPUTS, OUTPUTS, ImagePair, read_images, read_index, read_indexed_pairs
from polyexport.errors import DatasetError, UsageError
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.color import Color
from polyexport.imaging.pixels import Pixels
from polyexport.storage.file_set import open_file_set

__all__ = ["Pair", "PairPixels", "read_pair", "read_pairs", "read_splits", "write_pairs"]


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
    """Read and check the index of a data set of filled drawings, which may come from an untrusted source.

    Raises:
        DatasetError: The index cannot be used (see ``read_indexed_pairs``), or its entries have no colors. The message
            names the first such fault.
    """
    return [_filled(folder, pair) for pair in read_indexed_pairs(folder)]


def _filled(folder: Path, pair: ImagePair) -> Pair:
    if not isinstance(pair.condition, Color):
        raise DatasetError(f"the entries of {folder / INDEX} have no colors", remedy="give every entry its color")
    return Pair(input=pair.input, color=pair.condition, output=pair.output, shape=pair.shape)


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


def read_pair(pair: Pair) -> PairPixels:
    """Decode both images of a pair.

    Raises:
        DatasetError: An image cannot be read, or the two images differ in size.
    """
    image, colored = read_images(pair.input, pair.output)
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
        entries = read_index(folder)
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
