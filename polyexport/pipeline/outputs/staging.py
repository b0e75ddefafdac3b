"""Files on their way into an output folder: written under a temporary name in its state folder, and synced.

Naming them is left to whoever holds the folder. On a cluster the machines that make the outputs only stage them.
"""
# Everything here is relative to an open folder, which pathlib does not know.
# ruff: noqa: PTH208

import contextlib
import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from polyexport.errors import OutputError

__all__ = ["FOLDER_FLAGS", "STATE", "TEMPORARY", "DiskStaging", "LockedFolder", "Staging", "close_quietly", "unusable"]

STATE = ".polyexport"
"""The folder within an output folder that holds what is no output."""

TEMPORARY = "tmp-"
_MAX_UNSYNCED = 128  # files that are kept open

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Staging(Protocol):
    """Takes the bytes of outputs that have no name yet."""

    concurrency: int
    """How many threads should stage, if that is more than decode: where each waits for a network."""

    def stage(self, data: bytes) -> str:
        """Write a temporary file; returns its name. Safe to call from several threads.

        Raises:
            OutputError: the folder cannot be written; nothing is left behind.
        """
        ...

    def sync(self, staged: Sequence[str]) -> None:
        """Wait until files of these names outlive a loss of power. One thread at a time.

        Raises:
            OSError: they do not.
        """
        ...

    def read(self, staged: str) -> bytes:
        """What somebody has staged.

        Raises:
            OSError: there is no such file here.
        """
        ...

    def close(self) -> None:
        """Give back what is open; staged files stay."""
        ...


class LockedFolder(ABC):
    """An output folder that is held for the length of a ``with`` block."""

    @abstractmethod
    def close(self, *, checked: bool = True) -> None:
        """Give it back; ``checked``: whether a fault is raised, which it is not where another is on its way already."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close(checked=kind is None)


class DiskStaging:
    """``Staging`` in a folder that this machine sees."""

    concurrency = 1

    def __init__(self, descriptor: int, root: Path) -> None:
        """Take over an open state folder.

        Args:
            descriptor: of the state folder.
            root: the output folder, for messages.
        """
        self.descriptor = descriptor
        self._root = root
        self._unsynced: dict[str, int] = {}

    @classmethod
    def of(cls, root: Path) -> "DiskStaging":
        """Of an output folder that another process, perhaps on another machine, holds.

        Raises:
            OutputError: there is no such folder here.
        """
        try:
            return cls(os.open(root / STATE, FOLDER_FLAGS | os.O_NOFOLLOW), root)
        except OSError as error:
            raise unusable(root, error) from error

    def stage(self, data: bytes) -> str:
        """See ``Staging``."""
        name = f"{TEMPORARY}{secrets.token_hex(8)}"
        try:
            self._unsynced[name] = descriptor = os.open(name, _NEW_FILE, 0o666, dir_fd=self.descriptor)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
                if len(self._unsynced) > _MAX_UNSYNCED:
                    self._sync(name)
            except BaseException:
                self.discard(name)
                raise
        except OSError as error:
            raise unusable(self._root, error) from error
        return name

    def sync(self, staged: Sequence[str]) -> None:
        """See ``Staging``."""
        # To begin with all of them before waiting for the first takes ext4 one transaction in place of one for each:
        # 0.09 against 0.21 ms for each of 32 small files.
        for name in staged if hasattr(os, "posix_fadvise") else ():
            if name in self._unsynced:
                os.posix_fadvise(self._unsynced[name], 0, 0, os.POSIX_FADV_DONTNEED)
        for name in staged:
            self._sync(name)

    def read(self, staged: str) -> bytes:
        """See ``Staging``."""
        descriptor = os.open(staged, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.descriptor)
        with os.fdopen(descriptor, "rb") as file:
            return file.read()

    def discard(self, staged: str) -> None:
        """Remove a staged file, if it can be; what stays is removed by the next run."""
        descriptor = self._unsynced.pop(staged, None)
        if descriptor is not None:
            close_quietly(descriptor)
        if staged:
            with contextlib.suppress(OSError):
                os.unlink(staged, dir_fd=self.descriptor)

    def clean(self) -> None:
        """Remove every staged file, whoever made it: only for the holder of the folder's lock.

        Raises:
            OSError: the state folder cannot be read.
        """
        for name in os.listdir(self.descriptor):
            if name.startswith(TEMPORARY):
                self.discard(name)

    def close(self) -> None:
        """See ``Staging``."""
        while self._unsynced:
            close_quietly(self._unsynced.popitem()[1])
        close_quietly(self.descriptor)

    def _sync(self, staged: str) -> None:
        # By the descriptor that it was written with, which is sure to learn of a fault in the background.
        descriptor = self._unsynced.pop(staged, None)
        if descriptor is not None:
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def unusable(root: object, error: OSError) -> OutputError:
    """What a fault of an output folder means."""
    return OutputError(
        f"cannot write to {root} ({error.strerror or error})",
        remedy="free space there or choose another -o; the same command carries on",
    )


def close_quietly(descriptor: int) -> None:
    """Of what was only read, or is synced: a fault says nothing any more."""
    with contextlib.suppress(OSError):
        os.close(descriptor)
