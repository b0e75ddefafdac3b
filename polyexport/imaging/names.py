"""File names of output images, and of the folders that are named after a label."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from polyexport.storage.spelling import Spelling

__all__ = ["LABEL_NAME", "long_png_name", "name_clashes", "png_names"]

LABEL_NAME = re.compile(r"[^\W_](?:[\w .\-]{0,62}[^\W_])?", re.ASCII)
"""Well-formed label, such as the name of a style, which can name a folder."""


def png_names(names: Sequence[str]) -> list[str]:
    """Name the PNG file of each input.

    The suffix becomes ``.png``. Where that would give inputs of several suffixes one name, even if only on a disk that
    ignores case, the suffix is kept before ``.png``.

    Args:
        names: Name or relative path of each input.

    Returns:
        The names in the same order. Two of them may still be equal; see ``name_clashes``.
    """
    plain = [_as_png(name) for name in names]
    suffixes: dict[str, set[str]] = {
        name: set() for name, count in Counter(name.lower() for name in plain).items() if count > 1
    }
    for name, png in zip(names, plain, strict=True):
        if png.lower() in suffixes:
            suffixes[png.lower()].add(_suffix(name))
    return [
        long_png_name(name) if len(suffixes.get(png.lower(), ())) > 1 and not name.endswith(".png") else png
        for name, png in zip(names, plain, strict=True)
    ]


def long_png_name(name: str) -> str:
    """Name the PNG file of an input with the input's own suffix kept, such as ``a.jpg.png``."""
    return f"{name}.png"


def name_clashes(outputs: Callable[[], Iterable[tuple[int, str]]], spelling: Spelling) -> dict[int, int | None]:
    """Find the inputs whose outputs a disk cannot tell apart.

    All inputs of a clash are found, so that none of them wins by its place in a list. Of a file and a folder of one
    name only the file is found, as the folder may have the outputs of many inputs.

    Args:
        outputs: Returns the number of an input, and the path of an output of it with ``/`` between its parts, for every
            output. It is called twice, because a list of a million outputs would take much memory.
        spelling: Spellings that the disk ignores.

    Returns:
        Number of each input that clashes -> number of another input with which it does: its own if two of its outputs
        clash, None if an output has the name of a folder.
    """
    seen: set[int] = set()
    suspects: set[int] = set()
    folders: set[str] = set()
    for _, output in outputs():
        folded = spelling.folded(output)
        (suspects if hash(folded) in seen else seen).add(hash(folded))
        folder = folded.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    suspects.update(seen.intersection(map(hash, folders)))
    owners: dict[str, list[int]] = {}
    for number, output in outputs() if suspects else ():
        folded = spelling.folded(output)
        if hash(folded) in suspects:
            owners.setdefault(folded, []).append(number)
    clashes: dict[int, int | None] = {}
    for folded, numbers in owners.items():
        for number in numbers:
            if folded in folders:
                clashes[number] = None
            elif len(numbers) > 1:
                clashes[number] = next((other for other in numbers if other != number), number)
    return clashes


def _as_png(name: str) -> str:
    return f"{name.removesuffix(_suffix(name))}.png"


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1]  # noqa: PTH122 - text stays text
