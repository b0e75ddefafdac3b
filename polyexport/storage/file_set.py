"""Sets of files that come into a folder together or not at all, and leave the other files there alone.

    <folder>/.<random>.polyexport-tmp    the set while it is made; removed if the process ends before it is whole
    <folder>/.polyexport-set             the set once it is whole, while its files are moved to their names

The folder is locked meanwhile. From the moment when the set is whole, it replaces the earlier one: if the process is
killed while it moves the files, the next one moves the rest. Only files that the caller lists are ever replaced.
"""

import contextlib
import errno
import json
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from polyexport.errors import OutputError, UsageError
from polyexport.storage.files import read_limited, unwritable
from polyexport.storage.folder import sync_folder, write_new
from polyexport.storage.strict_json import read_json
from polyexport.storage.temporary import locked_folder, remove_abandoned, temporary_folder

__all__ = ["FileSetFolder", "open_file_set"]

_PENDING = ".polyexport-set"
_FILES, _RECORD = "files", "record.json"
_MAX_RECORD_BYTES, _MAX_RECORD_NAMES = 2**30, 10**7
_NOT_A_RECORD = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL, errno.EFBIG))
_NO_HARD_LINKS = frozenset((errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK))


@contextlib.contextmanager
def open_file_set(folder: Path, *, index: str, request: str = "") -> "Iterator[FileSetFolder]":
    """Open a folder for a set of files; it is created if it is missing, and locked for the length of the block.

    A set that a killed process had made, but not moved as a whole, is completed first.

    Args:
        folder: The folder.
        index: Name of the file that says which files belong together. The index of an earlier set is removed before the
            other files change, and the new one comes last. So files with an index are whole.
        request: Text that says what the set is made from, the same for equal sets; see ``FileSetFolder.is_done``.

    Raises:
        OutputError: The folder cannot be used, or another process writes to it.
    """
    made = False
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True)
            made = True
        try:
            with _locked(folder):
                remove_abandoned(folder)
                opened = FileSetFolder(folder, index, request)
                opened.is_done = opened.move() == request != ""
                yield opened
        except BaseException:
            if made:
                with contextlib.suppress(OSError):
                    folder.rmdir()
            raise
    except OSError as error:
        raise unwritable(folder, error) from error


@dataclass(slots=True)
class FileSetFolder:
    """A folder that is open for a set of files; see ``open_file_set``."""

    root: Path
    """The folder."""

    index: str
    """Name of the index; see ``open_file_set``."""

    request: str
    """Text that says what the set is made from; see ``open_file_set``."""

    is_done: bool = False
    """Whether a killed process had made the set for the same request, and its files have been moved now."""

    def replace(self, files: Iterable[tuple[str, bytes]], earlier: frozenset[str]) -> None:
        """Write a set in place of an earlier one, all of it or nothing.

        Args:
            files: Path of each file relative to the folder, with ``/``, and its bytes.
            earlier: Paths of the files of the earlier set, which are replaced or removed; no other file is.

        Raises:
            UsageError: A file that does not belong to the earlier set has one of the names.
            OutputError: The folder cannot be written. The earlier set is unchanged, unless the fault came while the
                files were moved; then the next ``open_file_set`` moves the rest.
        """
        try:
            with temporary_folder(self.root) as building:
                new: set[str] = set()
                for name, data in files:
                    self._refuse_taken(name, earlier)
                    write_new(building / _FILES / name, data)
                    new.add(name)
                record = {
                    "request": self.request,
                    "overwritten": sorted(earlier & new),
                    "removed": sorted(earlier - new),
                }
                write_new(building / _RECORD, json.dumps(record).encode())
                for current, _, _ in os.walk(building):
                    sync_folder(Path(current))
                building.rename(self.root / _PENDING)
            sync_folder(self.root)
            self.move()
        except OSError as error:
            raise unwritable(self.root, error) from error

    def move(self) -> str | None:
        """Move the files of a whole set to their names.

        Returns:
            The request that the set was made for; None if there is none to move.

        Raises:
            OutputError: Another file has got one of the names meanwhile, or the folder cannot be written.
            OSError: The folder cannot be written.
        """
        pending = self.root / _PENDING
        if not os.path.lexists(pending):
            return None
        request, overwritten, removed = self._read_record(pending)
        waiting = set(_files_below(pending / _FILES))
        for name in removed | waiting:
            self._refuse_links(name)
        for name in removed | (overwritten & waiting):
            if PurePosixPath(name).name == self.index:
                self._remove(name)
        for name in removed:
            self._remove(name)
        for name in sorted(waiting, key=lambda name: (PurePosixPath(name).name == self.index, name)):
            _move(pending / _FILES / name, self.root / name, replace=name in overwritten)
        for folder in {(self.root / name).parent for name in waiting} | {self.root}:
            sync_folder(folder)
        with temporary_folder(self.root) as done:
            pending.rename(done / _PENDING)
        return request

    def _refuse_taken(self, name: str, earlier: frozenset[str]) -> None:
        target = self.root / name
        self._refuse_links(name)
        try:
            is_folder = stat.S_ISDIR(target.lstat().st_mode)
        except FileNotFoundError:
            return
        if is_folder or name not in earlier:
            # Never replaced, whatever was asked for: nothing says that a run of this toolkit made it.
            raise UsageError(
                f"{target} is there already, and no {self.index} lists it",
                remedy="move it away or name another folder",
            )

    def _refuse_links(self, name: str) -> None:
        """Raise OutputError if a folder of a path is a link, or something else that is not a folder."""
        for parent in list(PurePosixPath(name).parents)[:-1]:
            path = self.root / parent
            if path.is_symlink() or (path.exists() and not path.is_dir()):
                raise OutputError(
                    f"{path} is a link or not a folder, and nothing is written through links",
                    remedy="move it away or name another folder",
                )

    def _remove(self, name: str) -> None:
        path = self.root / name
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISDIR(path.lstat().st_mode):
                path.unlink()

    def _read_record(self, pending: Path) -> tuple[str, set[str], set[str]]:
        """Return the request of the set in ``pending``, which files it overwrites, and which it removes."""
        try:
            record = read_json(read_limited(pending / _RECORD, _MAX_RECORD_BYTES), max_values=_MAX_RECORD_NAMES)
            request = str(record["request"])
            overwritten, removed = set(map(_checked, record["overwritten"])), set(map(_checked, record["removed"]))
        except (OSError, ValueError, TypeError, KeyError) as error:
            if isinstance(error, OSError) and error.errno not in _NOT_A_RECORD:
                raise
            raise OutputError(
                f"{pending} is not a set of files that this toolkit made", remedy="move it away or name another folder"
            ) from error
        return request, overwritten, removed


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a folder for the length of the block."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked_folder(folder.resolve()))
        except BlockingIOError as error:
            raise OutputError(
                f"another process writes to {folder}", remedy="wait for it or name another folder"
            ) from error
        yield


def _checked(name: object) -> str:
    """Return a path of the record; raises ValueError if it leads out of the folder."""
    if not isinstance(name, str) or not name or "\0" in name:
        raise ValueError("not a path")
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise ValueError("a path that leaves the folder")
    return name


def _files_below(folder: Path) -> Iterator[str]:
    """Yield the path of every file below a folder, relative to it, with ``/``; links are not followed."""
    for current, folders, names in os.walk(folder):
        here = Path(current)
        for name in (*names, *(each for each in folders if (here / each).is_symlink())):
            yield (here / name).relative_to(folder).as_posix()


def _move(source: Path, target: Path, *, replace: bool) -> None:
    """Give a file another name; without ``replace``, no file that has this name is touched."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if replace:
        source.replace(target)
        return
    try:
        target.hardlink_to(source)  # unlike a rename, a hard link never replaces a file
    except FileExistsError as error:
        # Both are one file if a process was killed between the link and the removal of the first name.
        if not os.path.samestat(source.lstat(), target.lstat()):
            raise _appeared(target) from error
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if os.path.lexists(target):
            raise _appeared(target) from error
        source.rename(target)
        return
    source.unlink()


def _appeared(target: Path) -> OutputError:
    return OutputError(
        f"{target} has appeared while the files were written", remedy="move it away, then run the same command again"
    )
