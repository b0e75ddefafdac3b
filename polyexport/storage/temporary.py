"""Temporary files and folders that show whether the process that writes them still lives.

What is unfinished has a hidden name with a random part and the ending ``TEMPORARY_SUFFIX``. Its writer holds a lock of
the kernel (``flock``) on it until it has its final name or is removed. The kernel releases the lock when the process
ends, however it ends. So a temporary that another process can lock was left by a process that was killed, and whoever
writes into the same folder next removes it. This holds across containers that share a disk, and for process numbers
that are used again. Where the system or the file system has no such locks, nothing is removed.
"""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl

__all__ = [
    "TEMPORARY_SUFFIX",
    "create_file",
    "lock",
    "locked_folder",
    "remove_abandoned",
    "replaced_name",
    "restore_replaced",
    "temporary_folder",
]

TEMPORARY_SUFFIX = ".polyexport-tmp"
"""Suffix of the name of everything unfinished; the random part before it keeps two writers apart."""

_NAME = re.compile(rf"\.(?P<token>[0-9a-f]{{16}})(?:\.(?P<final>[0-9a-f]{{16}}))?{re.escape(TEMPORARY_SUFFIX)}")

_cleaned: set[str] = set()  # folders that this process has looked through; one of a million files takes half a second


def lock(descriptor: int) -> bool:
    """Lock an open file or folder until its descriptor is closed or the process ends.

    Returns:
        Whether it is locked; False where the system or the file system has no such locks.

    Raises:
        BlockingIOError: Another process, or another descriptor of this one, holds the lock.
    """
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


def create_file(folder: Path) -> tuple[Path, int]:
    """Create an empty temporary file in a folder.

    Returns:
        The path, and a descriptor that is open for writing. The file counts as abandoned once that is closed.

    Raises:
        OSError: The file cannot be created.
    """
    while True:
        path = _new_path(folder)
        # O_EXCL: a file or link that another process put there is never opened.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        if _keeps(path, descriptor):
            return path, descriptor
        os.close(descriptor)


@contextlib.contextmanager
def temporary_folder(parent: Path, *, mode: int = 0o777) -> Iterator[Path]:
    """Make a temporary folder for the length of a ``with`` block; the block may rename it.

    Args:
        parent: The folder to make it in.
        mode: Permissions, less those that the process's umask takes.

    Raises:
        OSError: The folder cannot be made.
    """
    while True:
        path = _new_path(parent)
        path.mkdir(mode)
        try:
            descriptor = _open_folder(path)
        except FileNotFoundError:
            continue  # another process found it before it was locked, and removed it
        except OSError:
            path.rmdir()
            raise
        if descriptor is None or _keeps(path, descriptor):
            break
        os.close(descriptor)
    try:
        yield path
    finally:
        _remove_unused(path)
        if descriptor is not None:
            os.close(descriptor)


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Lock an existing folder for the length of a ``with`` block, where the file system has such locks.

    Raises:
        BlockingIOError: Another process holds the lock.
        OSError: The folder cannot be opened.
    """
    descriptor = _open_folder(folder)
    try:
        if descriptor is not None:
            lock(descriptor)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def remove_abandoned(folder: Path) -> None:
    """Remove what killed processes have left in a folder, but not in the folders below it.

    A process looks through each folder once. What cannot be removed stays; nothing is raised.
    """
    key = os.path.abspath(folder)  # noqa: PTH100  unlike resolve(), this reads no links
    if key in _cleaned or sys.platform == "win32":
        return
    _cleaned.add(key)
    with contextlib.suppress(OSError):
        found = _temporaries(folder)
        replaced = {match["token"] for match in found.values() if match["final"]}
        replacements = {match["token"] for match in found.values() if not match["final"]}
        for path, match in found.items():
            # An earlier folder beside its replacement: the process ended between two renames. See restore_replaced.
            if match["token"] not in replaced & replacements:
                _remove_if_abandoned(path)


def replaced_name(temporary: Path, final: Path) -> Path:
    """Return the name that ``final`` gets while ``temporary`` is renamed to it, for ``restore_replaced``."""
    stem = temporary.name.removesuffix(TEMPORARY_SUFFIX)
    return temporary.with_name(f"{stem}.{_digest(final)}{TEMPORARY_SUFFIX}")


def restore_replaced(final: Path) -> None:
    """Give an earlier folder its name back, if a process was killed after renaming it and before its replacement.

    Nothing is raised, and nothing is done if something else has this name by now.
    """
    with contextlib.suppress(OSError):
        found = _temporaries(final.parent)
        unfinished = {match["token"]: path for path, match in found.items() if not match["final"]}
        for path, match in found.items():
            replacement = unfinished.get(match["token"])
            if match["final"] == _digest(final) and replacement is not None:
                with locked_folder(replacement), locked_folder(path):
                    path.rename(final)  # fails unless there is nothing, or an empty folder
                    shutil.rmtree(replacement, ignore_errors=True)


def _new_path(folder: Path) -> Path:
    # The name does not contain the final one, which may already be as long as a name can be.
    return folder / f".{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"


def _digest(final: Path) -> str:
    return hashlib.sha256(os.fsencode(final.name)).hexdigest()[:16]


def _open_folder(path: Path) -> int | None:
    """Open a folder for locking; None on Windows, which opens none."""
    return None if sys.platform == "win32" else os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def _keeps(path: Path, descriptor: int) -> bool:
    """Lock what was just created; False if another process took it for abandoned before it was locked."""
    try:
        if not lock(descriptor):
            return True
        mine, there = os.fstat(descriptor), os.lstat(path)
    except (BlockingIOError, FileNotFoundError):
        return False
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


def _remove_unused(path: Path) -> None:
    """Remove a temporary folder, unless it is needed to tell that the folder it was to replace has lost its name."""
    with contextlib.suppress(OSError):
        token = path.name.removesuffix(TEMPORARY_SUFFIX)
        if path.exists() and not any(
            each.name.startswith(f"{token}.") for each in _temporaries(path.parent).keys() - {path}
        ):
            shutil.rmtree(path, ignore_errors=True)


def _temporaries(folder: Path) -> dict[Path, re.Match[str]]:
    """Return the temporaries in a folder, each with the parts of its name. Raises OSError."""
    with os.scandir(folder) as entries:
        found = {entry.name: _NAME.fullmatch(entry.name) for entry in entries}
    return {folder / name: match for name, match in found.items() if match}


def _remove_if_abandoned(path: Path) -> None:
    """Remove a temporary file or folder unless its writer lives, or that is not known."""
    with contextlib.suppress(OSError):
        is_folder = stat.S_ISDIR(os.lstat(path).st_mode)
        # Some file systems lock a file only if it is open for writing; no folder can be.
        flags = os.O_RDONLY | os.O_DIRECTORY if is_folder else os.O_RDWR | os.O_NONBLOCK
        descriptor = os.open(path, flags | os.O_NOFOLLOW)
        try:
            if not is_folder and not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "not a file of this toolkit")
            if lock(descriptor):
                if is_folder:
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()
        finally:
            os.close(descriptor)
