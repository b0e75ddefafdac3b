"""The user's folder for what can be made again: where it is, and entries in it that are damaged by nobody unnoticed.

What a program of another user could have written there must never be loaded: the entries are given to native code. So
a folder of entries counts only if it is a folder of mode 0700 that belongs to this user, and an entry only if it is a
file of mode 0600 of this user's. Within that, the SHA-256 in an entry finds what a disk or a crash has damaged.
"""

import contextlib
import hashlib
import os
import stat
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from polyexport.storage.files import open_regular, read_stream
from polyexport.storage.temporary import create_file, remove_abandoned

__all__ = ["CACHE_VARIABLE", "CacheUnusableError", "EntryFolder", "cache_folder", "folder_fault"]

CACHE_VARIABLE = "POLYEXPORT_CACHE_DIR"
"""Environment variable with the folder in which polyexport keeps what can be made again, or ``off`` for none."""

_OFF = "off"
_MAGIC = b"polyexport entry 1\n"
_HEADER = struct.Struct(f">{len(_MAGIC)}s32s32sQ")  # and the SHA-256 of the key and of the content, and its size
_OTHERS = 0o077


class CacheUnusableError(Exception):
    """A cache that cannot be used; the message says why, as the end of a sentence. The work goes on without it."""


def cache_folder() -> Path | None:
    """Return polyexport's folder below the user's cache folder, which need not exist.

    None if ``POLYEXPORT_CACHE_DIR`` says so, or names no absolute path, or if this user has no home folder.
    """
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given) if given != _OFF and os.path.isabs(given) else None  # noqa: PTH117 - not of a Path
    try:
        if sys.platform == "win32":
            local = os.environ.get("LOCALAPPDATA", "")
            base = Path(local) if local else Path.home() / "AppData" / "Local"
        elif sys.platform == "darwin":
            base = Path.home() / "Library" / "Caches"
        else:
            home = os.environ.get("XDG_CACHE_HOME", "")
            base = Path(home) if os.path.isabs(home) else Path.home() / ".cache"  # noqa: PTH117 - an empty text as well
    except RuntimeError:
        return None
    return base / "polyexport"


def folder_fault(folder: Path | None, *, others: int = _OTHERS) -> str:
    """Return why a folder of entries cannot be used, as it stands; empty if it can be, or does not exist yet.

    Args:
        folder: The folder; None for none.
        others: Bits of the mode that it may not have.
    """
    if folder is None:
        given = os.environ.get(CACHE_VARIABLE)
        if not given:
            return "this user has no home folder"
        return f"{CACHE_VARIABLE} is off" if given == _OFF else f"{CACHE_VARIABLE} is no absolute path"
    try:
        status = os.lstat(folder)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{folder} cannot be looked at ({error.strerror})"
    if not stat.S_ISDIR(status.st_mode):
        return f"{folder} is no folder"
    if not hasattr(os, "geteuid"):  # folders below a user's profile on Windows are that user's
        return ""
    if status.st_uid != os.geteuid():
        return f"{folder} belongs to another user"
    if status.st_mode & others:
        return f"others may enter {folder}, which has mode {stat.S_IMODE(status.st_mode):04o}; chmod 700 makes it yours"
    return ""


class EntryFolder:
    """A folder of entries under keys, the least recently used of which make room for others.

    It is safe under several processes and threads: an entry gets its name when it is whole, and of two writers of one
    key the last wins.
    """

    def __init__(self, folder: Path | None, *, max_bytes: int) -> None:
        """Name a folder; nothing is read.

        Args:
            folder: The folder; None for none.
            max_bytes: Largest size of all entries together.
        """
        self.folder = folder
        self.max_bytes = max_bytes

    def read(self, key: str) -> bytes | None:
        """Read an entry, and mark it as used.

        Returns:
            Its content; None if there is none. One that is damaged is removed.

        Raises:
            CacheUnusableError: the folder or the entry is not this user's alone, or cannot be read.
        """
        self._check()
        path = self._path(key)
        try:
            content = self._content(path, key)
            if content is None:
                path.unlink(missing_ok=True)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CacheUnusableError(f"{path} cannot be read ({error.strerror or error})") from error
        if content is not None:
            with contextlib.suppress(OSError):
                os.utime(path)
        return content

    def write(self, key: str, content: bytes) -> None:
        """Write an entry, after removing the least recently used ones that leave no room for it.

        Raises:
            CacheUnusableError: the folder is not this user's alone or cannot be written, or the entry is too large. An
                earlier entry under the key is as it was.
        """
        if self.folder is None:
            raise CacheUnusableError(folder_fault(None))
        size = _HEADER.size + len(content)
        if size > self.max_bytes:
            raise CacheUnusableError(f"an entry of {size} bytes is larger than the limit of {self.max_bytes}")
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check()
            remove_abandoned(self.folder)
            self._make_room(self.max_bytes - size)
            header = _HEADER.pack(_MAGIC, _digest(key.encode()), _digest(content), len(content))
            temporary, descriptor = create_file(self.folder)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    if hasattr(os, "fchmod"):
                        os.fchmod(descriptor, 0o600)
                    file.write(header)
                    file.write(content)
                    file.flush()
                    if os.name == "posix":
                        temporary.replace(self._path(key))  # while it is locked; Windows renames no open file
                if os.name != "posix":
                    temporary.replace(self._path(key))
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise CacheUnusableError(f"{self.folder} cannot be written ({error.strerror or error})") from error

    def remove(self, key: str) -> None:
        """Remove an entry, if it is there and can be removed."""
        with contextlib.suppress(OSError):
            self._path(key).unlink(missing_ok=True)

    def usage(self) -> tuple[int, int]:
        """Return the number of entries, and their size in bytes; 0 and 0 where they cannot be counted."""
        sizes = [status.st_size for _, status in self._entries()]
        return len(sizes), sum(sizes)

    def _check(self) -> None:
        fault = folder_fault(self.folder)
        if fault:
            raise CacheUnusableError(fault)

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{_digest(key.encode()).hex()}.entry"

    def _content(self, path: Path, key: str) -> bytes | None:
        """Read the content of an entry; None if it is damaged. Raises OSError."""
        with os.fdopen(open_regular(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb") as file:
            status = os.fstat(file.fileno())
            if hasattr(os, "geteuid") and (status.st_uid != os.geteuid() or status.st_mode & _OTHERS):
                raise OSError(f"it is not this user's alone, with mode {stat.S_IMODE(status.st_mode):04o}")
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size or status.st_size > self.max_bytes:
                return None
            magic, of_key, of_content, size = _HEADER.unpack(header)
            if magic != _MAGIC or of_key != _digest(key.encode()) or size != status.st_size - _HEADER.size:
                return None
            content = read_stream(file, size, expected_bytes=size)
        return content if _digest(content) == of_content else None

    def _entries(self) -> Iterator[tuple[Path, os.stat_result]]:
        if self.folder is None:
            return
        with contextlib.suppress(OSError), os.scandir(self.folder) as found:
            for entry in found:
                if entry.name.endswith(".entry"):
                    with contextlib.suppress(OSError):
                        yield self.folder / entry.name, entry.stat(follow_symlinks=False)

    def _make_room(self, wanted: int) -> None:
        """Remove the least recently used entries until the others have at most the wanted size."""
        entries = sorted(self._entries(), key=lambda one: one[1].st_mtime_ns)
        total = sum(status.st_size for _, status in entries)
        for path, status in entries:
            if total <= wanted:
                return
            path.unlink(missing_ok=True)
            total -= status.st_size


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
