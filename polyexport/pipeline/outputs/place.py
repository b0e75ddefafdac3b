"""Place of an open output folder: whether its path, and the names of the folders in it, still lead to it.

A descriptor follows a folder that is renamed, moved or removed while a run writes into it; a path does not. Without
this check a run would report files under names that nothing has.
"""
# Every path here is a link of the kernel, or relative to an open folder, which pathlib does not support.
# ruff: noqa: PTH115

import errno
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from polyexport.errors import OutputError

__all__ = ["FolderPlace"]

# Errors of a path that no longer leads to anything. Any other error does not tell whether it does.
_LEADS_NOWHERE = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES))
_REMOVED = " (deleted)"  # what Linux appends to the path of a folder without a name


class FolderPlace:
    """Identities of an open output folder and of the folders in it. One thread at a time."""

    def __init__(self, root: Path, descriptor: int) -> None:
        """Remember the output folder.

        Args:
            root: path of the folder as the user gave it.
            descriptor: descriptor of the folder, which stays open for as long as this is used.
        """
        self._root = root
        self._descriptor = descriptor
        self._identity = os.fstat(descriptor)
        self._folders: dict[str, tuple[int, int]] = {}
        self._outputs: dict[str, str] = {}

    def add(self, folder: str, descriptor: int) -> None:
        """Remember a folder in the output folder, unless one of this name was remembered before.

        Args:
            folder: path of the folder, relative to the output folder.
            descriptor: descriptor of the folder.
        """
        status = os.fstat(descriptor)
        self._folders.setdefault(folder, (status.st_dev, status.st_ino))

    def add_output(self, output: str) -> None:
        """Remember one output in every folder: it tells the folder from another one of the same name.

        Args:
            output: path of an output that has its name, relative to the output folder.
        """
        folder = output.rpartition("/")[0]
        while folder and folder not in self._outputs:
            self._outputs[folder] = output
            folder = folder.rpartition("/")[0]

    def __contains__(self, folder: str) -> bool:
        return folder in self._folders

    def leads_here(self) -> bool:
        """Return whether the path of the output folder leads to the open folder.

        Raises:
            OSError: the path cannot be followed, for a reason that does not tell where it leads.
        """
        status = _stat(self._root)
        return status is not None and os.path.samestat(status, self._identity)

    def check(self, opened: Mapping[str, int], folders: Iterable[str] | None = None) -> None:
        """Check that the output folder, and folders in it, are where they were.

        Args:
            opened: descriptors of the folders that are open, by their relative paths, to find out where they are.
            folders: relative paths of the folders to check, and of those above them; None for every remembered one.
                A folder that was never remembered, because it could not be opened, is passed over.

        Raises:
            OutputError: one of them was moved, removed or replaced; the message says where its outputs are.
            OSError: a path cannot be followed, for a reason that does not tell where it leads.
        """
        if not self.leads_here():
            raise self._moved_root()
        for folder in self._folders if folders is None else _with_parents(folders):
            if folder in self._folders and not self._in_place(folder, opened.get(folder)):
                raise self._moved(folder, _path_of(opened.get(folder, -1)))

    def _in_place(self, folder: str, opened: int | None) -> bool:
        status = _stat(folder, dir_fd=self._descriptor)
        if status is None or not stat.S_ISDIR(status.st_mode):
            return False
        if opened is not None and not os.path.samestat(status, os.fstat(opened)):
            return False
        if (status.st_dev, status.st_ino) == self._folders[folder]:
            return True
        # Some file systems of networks and of stores number a folder anew when nothing in it is open.
        output = self._outputs.get(folder)
        return output is None or _stat(output, dir_fd=self._descriptor) is not None

    def _moved_root(self) -> OutputError:
        path = _path_of(self._descriptor)
        if path == _REMOVED:
            return OutputError(
                f"the output folder {self._root} was removed during the run, with its outputs",
                remedy="run the same command again",
            )
        if path:
            return OutputError(
                f"{self._root} no longer leads to the output folder of this run: the outputs were written to {path}",
                remedy=f"run the same command again with -o {path}, which carries on",
            )
        return OutputError(
            f"{self._root} no longer leads to the output folder of this run: the outputs were written to the folder "
            f"that used to be {self._root}",
            remedy="run the same command again with the present path of that folder, which carries on",
        )

    def _moved(self, folder: str, path: str) -> OutputError:
        fate = f"was moved to {path}" if path not in ("", _REMOVED) else "was moved or removed"
        return OutputError(
            f"{self._root / folder} {fate} during the run, with the files in it",
            remedy="move it back, then run the same command again, which makes what is missing",
        )


def _with_parents(folders: Iterable[str]) -> dict[str, None]:
    """Return folders and all above them, each once, parents first."""
    found: dict[str, None] = {}
    for folder in folders:
        parts = folder.split("/") if folder else []
        found.update(dict.fromkeys("/".join(parts[: end + 1]) for end in range(len(parts))))
    return found


def _stat(path: str | Path, *, dir_fd: int | None = None) -> os.stat_result | None:
    """Return the status of a path, or None if it leads nowhere. Links are followed only where no folder is given."""
    try:
        return os.stat(path, dir_fd=dir_fd, follow_symlinks=dir_fd is None)
    except OSError as error:
        if error.errno in _LEADS_NOWHERE:
            return None
        raise


def _path_of(descriptor: int) -> str:
    """Return the present path of an open folder, ``_REMOVED`` if it has none, or an empty string if nothing tells."""
    try:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""
    status = _stat(path)
    if status is not None and os.path.samestat(status, os.fstat(descriptor)):
        return path
    return _REMOVED if path.endswith(_REMOVED) else ""
