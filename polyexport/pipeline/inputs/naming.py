"""Names of inputs: each input's path relative to its folder, unique even on file systems that ignore case.

Names are plain strings, because a ``Path`` for each of a million inputs would take several times the memory.
"""
# ruff: noqa: PTH119, PTH120

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from polyexport.errors import UsageError

__all__ = ["Found", "join_name", "name_files", "root_prefixes"]


@dataclass(frozen=True, slots=True)
class Found:
    """One input image."""

    source: str
    """Path or URL to open."""

    name: str
    """Path relative to the input folder, with parts separated by ``/`` and the file's own suffix. If there are several
    inputs, it begins with the name of the folder."""


def name_files(files: Sequence[tuple[str, str]]) -> list[Found]:
    """Name files that the user listed one by one: by their file names, or by their paths if file names repeat.

    Args:
        files: for each file its path, and the real path of its folder.

    Raises:
        UsageError: files of one name on two drives.
    """
    names = {os.path.basename(source).lower() for source, _ in files}
    if len(names) == len(files):
        return [Found(source, os.path.basename(source)) for source, _ in files]
    common = _common_folder({real for _, real in files})
    below = {real: _as_posix(os.path.relpath(real, common)) for real in {real for _, real in files}}
    return [Found(source, join_name(below[real], os.path.basename(source))) for source, real in files]


def root_prefixes(roots: Sequence[str], *, alone: bool) -> dict[str, str]:
    """Choose the prefix of the names of each input folder's files.

    A single folder needs no prefix. Several folders use their own names, or their paths below a common folder if two of
    the names are equal but for case.

    Args:
        roots: real paths of the input folders.
        alone: whether there are no inputs besides the folders.

    Raises:
        UsageError: folders of one name on two drives.
    """
    if len(roots) == 1 and alone:
        return dict.fromkeys(roots, "")
    names = {os.path.basename(root).lower() for root in roots}
    if len(names) == len(roots):
        return {root: os.path.basename(root) for root in roots}
    common = _common_folder({os.path.dirname(root) for root in roots})
    return {root: _as_posix(os.path.relpath(root, common)) for root in roots}


def join_name(prefix: str, relative: str) -> str:
    """Join two parts of a name with ``/``; the first may be empty."""
    return f"{prefix}/{relative}" if prefix else relative


def _common_folder(folders: Collection[str]) -> str:
    try:
        return os.path.commonpath(folders)
    except ValueError as error:  # two drives
        raise UsageError("inputs of one name lie on two drives", remedy="give them in two runs") from error


def _as_posix(relative: str) -> str:
    return "" if relative == os.curdir else PurePath(relative).as_posix()
