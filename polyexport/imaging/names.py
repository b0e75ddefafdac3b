"""File names of output images, and of the folders that are named after a label."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from polyexport.storage.spelling import Spelling

__all__ = ["LABEL_NAME", "long_name", "name_clashes", "output_names", "png_suffix"]

LABEL_NAME = re.compile(r"[^\W_](?:[\w .\-]{0,62}[^\W_])?", re.ASCII)
"""Well-formed label, such as the name of a style, which can name a folder."""


def png_suffix(_: str) -> str:
    """Return ``.png``, whatever the suffix of the input's name is."""
    return ".png"


def output_names(names: Sequence[str], target: Callable[[str], str] = png_suffix) -> list[str]:
    """Name the output file of each input.

    The suffix becomes that of the output's format. Where that would give inputs of several suffixes one name, even if
    only on a disk that ignores case, the suffix is kept before that of the format.

    Args:
        names: Name or relative path of each input.
        target: Returns the suffix of an output for that of its input, each with the dot.

    Returns:
        The names in the same order. Two of them may still be equal; see ``name_clashes``.
    """
    plain = [_with_suffix(name, target) for name in names]
    suffixes: dict[str, set[str]] = {
        name: set() for name, count in Counter(name.lower() for name in plain).items() if count > 1
    }
    for name, output in zip(names, plain, strict=True):
        if output.lower() in suffixes:
            suffixes[output.lower()].add(_suffix(name))
    return [
        long_name(name, target)
        if len(suffixes.get(output.lower(), ())) > 1 and not name.endswith(target(_suffix(name)))
        else output
        for name, output in zip(names, plain, strict=True)
    ]


def long_name(name: str, target: Callable[[str], str] = png_suffix) -> str:
    """Name the output of an input with the input's own suffix kept, such as ``a.jpg.png``; see ``output_names``."""
    return f"{name}{target(_suffix(name))}"


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


def _with_suffix(name: str, target: Callable[[str], str]) -> str:
    suffix = _suffix(name)
    return f"{name.removesuffix(suffix)}{target(suffix)}"


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1]  # noqa: PTH122 - text stays text
