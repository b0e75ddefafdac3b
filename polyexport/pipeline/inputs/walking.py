"""Walk of input folders: every real folder once, no links to folders, and links to files only within the folder."""
# Paths are plain strings: a Path object for each of a million files would take several times the memory.
# ruff: noqa: PTH112, PTH118, PTH122

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from polyexport.errors import UsageError
from polyexport.imaging.codecs import SUFFIXES
from polyexport.pipeline.inputs.naming import join_name

__all__ = ["Folder", "FolderId", "folder_id", "is_image", "join_path", "walk"]

FolderId = tuple[int, int]
"""Device and inode of a folder."""


@dataclass(frozen=True, slots=True)
class Folder:
    """An input folder."""

    path: str
    """Path as the user wrote it."""

    real: str
    """Real path, without links."""

    pattern: str = ""
    """The pattern that matched the folder; empty for a folder that the user named."""


def walk(
    root: Folder,
    enter: Callable[[str], bool],
    *,
    visited: set[FolderId],
    skip: Collection[FolderId],
    passes_over: bool = False,
) -> Iterator[tuple[str, str]]:
    """Yield the files below a folder.

    Args:
        root: the folder.
        enter: decides by its relative path whether a subfolder is walked.
        visited: folders that are not walked again; every walked folder is added.
        skip: folders that are not walked.
        passes_over: whether a subfolder that cannot be listed is passed over.

    Yields:
        For each file the relative path of its folder, and its name.

    Raises:
        UsageError: a folder that cannot be listed. A subfolder that vanishes during the walk is passed over.
    """
    inside = os.path.join(root.real, "")
    waiting = [""]
    while waiting:
        current = waiting.pop()
        path = join_path(root.path, current) if current else root.path
        identity = folder_id(path)
        if identity in skip or identity in visited:
            continue
        if identity is not None:
            visited.add(identity)
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.is_symlink():
                        # realpath does not raise on a link to itself; such a file fails when it is read.
                        if not os.path.isdir(entry) and os.path.realpath(entry).startswith(inside):
                            yield current, entry.name
                    elif not entry.is_dir():
                        yield current, entry.name
                    elif enter(join_name(current, entry.name)):
                        waiting.append(join_name(current, entry.name))
        except OSError as error:
            if current and (passes_over or isinstance(error, (FileNotFoundError, NotADirectoryError))):
                continue  # another process has removed the folder since it was found in the one above
            raise UsageError(f"{path} cannot be listed ({error.strerror})", remedy="check its permissions") from error


def folder_id(folder: str | Path) -> FolderId | None:
    """Return the device and inode of a folder, or None if it does not exist or cannot be reached."""
    try:
        status = Path(folder).stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def is_image(name: str) -> bool:
    """Return whether a file name has the suffix of an image format and is not hidden."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def join_path(folder: str, relative: str) -> str:
    """Join a folder and a relative path; paths in the working folder stay short."""
    return relative if folder == os.curdir else os.path.join(folder, relative)
