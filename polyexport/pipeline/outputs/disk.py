"""Output folder on a disk: locked by one run, journaled, and written so that no partial file ever has a final name.

    <output>/<color>/<name>.png          the outputs
    <output>/.polyexport/journal.jsonl   what each output was made from; see ``journal``
    <output>/.polyexport/lock            the process that has locked the folder, during a run
    <output>/.polyexport/tmp-*           temporary files

Every path below the output folder is opened relative to the folder that contains it, and no link among them is
followed, not even one that appears during the run.
"""
# Every path here is relative to an open folder, which pathlib does not support.
# ruff: noqa: PTH102, PTH106

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import socket
import stat
import sys
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from polyexport.errors import OutputError, UsageError
from polyexport.pipeline.outputs.journal import DiskLog, Journal, Record
from polyexport.pipeline.outputs.staging import FOLDER_FLAGS, STATE, DiskStaging, LockedFolder, close_quietly, unusable
from polyexport.storage.strict_json import read_json

__all__ = ["OutputFolder", "OutputSink", "OutputView", "UnpublishedOutput", "describe_lock_owner", "read_journal"]

_JOURNAL, _LOCK = "journal.jsonl", "lock"
_MAX_OPEN_FOLDERS = 32
_MAX_LOCK_BYTES = 4096

_STATE_FILE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC

# Errors of one output's name. Any other error means that the output folder is unusable, and ends the run.
_NAME_ERRORS = {
    errno.ENAMETOOLONG: "the name is too long",
    errno.EISDIR: "a folder stands there",
    errno.EINVAL: "the name is not allowed there",
    errno.EILSEQ: "the name is not allowed there",
    errno.ELOOP: "a link stands in its path, and nothing is written through links",
    errno.ENOTDIR: "a link or a file stands in its path, and nothing is written through links",
    errno.EEXIST: "a file has appeared there during the run",
    errno.EXDEV: "its folder is another file system",
}
_NO_HARD_LINKS = frozenset((errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK))


@dataclass(frozen=True, slots=True)
class UnpublishedOutput:
    """An output that is staged but has no final name yet, or the record of a failure."""

    output: str
    """Name of the output in its folder, ``<color>/<name>.png``."""

    record: Record
    staged: str = ""
    """Temporary name that ``OutputSink.stage`` returned; empty for a failure."""

    replace: bool = False
    """Whether the output may replace an existing file."""


class OutputSink(Protocol):
    """Takes the outputs of a run: first their bytes, under temporary names, then their final names."""

    concurrency: int
    """Number of threads that should stage at a time, where each waits for a network; 1 for a local disk."""

    def stage(self, data: bytes) -> str:
        """Write a temporary file, and return its name. Safe to call from several threads."""
        ...

    def publish(self, outputs: Sequence[UnpublishedOutput]) -> list[str]:
        """Record outputs in the journal, and give staged outputs their final names. One thread at a time.

        Returns:
            For each output, why it alone could not be published, or an empty string.
        """
        ...


class OutputView:
    """Read access to an output folder. One thread at a time.

    Raises:
        OutputError: the folder cannot be opened.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folders: OrderedDict[str, int] = OrderedDict()
        try:
            self._root = os.open(root, FOLDER_FLAGS)
        except OSError as error:
            raise unusable(self.root, error) from error

    def close(self) -> None:
        """Close the folder and those below it."""
        for descriptor in (*self._folders.values(), self._root):
            close_quietly(descriptor)
        self._folders.clear()

    def hash_outputs(self, outputs: Sequence[str]) -> list[str | None]:
        """Return the SHA-256 of each output that exists, and None for each that does not.

        Anything but a regular file, a link for instance, has the hash ``"-"``, because no run wrote it.

        Raises:
            UsageError: a folder has the name of an output.
            OutputError: the outputs cannot be read.
        """
        return [self._hash_output(output) for output in outputs]

    def _hash_output(self, output: str) -> str | None:
        folder, _, name = output.rpartition("/")
        try:
            parent = self._folder(folder, make=False)
            mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                return "-"
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
            with os.fdopen(descriptor, "rb") as file:  # raises IsADirectoryError itself
                return hashlib.file_digest(file, "sha256").hexdigest()
        except IsADirectoryError as error:
            raise UsageError(f"the output {self.root / output} is a folder", remedy="choose another -o") from error
        except OSError as error:
            if error.errno == errno.ENOENT or error.errno in _NAME_ERRORS:
                return None  # this output fails when it is written
            raise OutputError(
                f"cannot read {self.root / output} ({error.strerror})", remedy="choose another -o"
            ) from error

    def _folder(self, folder: str, *, make: bool) -> int:
        """Return the descriptor of a folder below the root, which is kept open for the next output."""
        opened = self._folders.get(folder)
        if opened is not None:
            self._folders.move_to_end(folder)
            return opened
        parent = os.dup(self._root)
        try:
            for part in filter(None, folder.split("/")):
                inner = _open_folder(parent, part, make=make)
                close_quietly(parent)
                parent = inner
        except BaseException:
            close_quietly(parent)
            raise
        self._folders[folder] = parent
        if len(self._folders) > _MAX_OPEN_FOLDERS:
            _, oldest = self._folders.popitem(last=False)
            try:
                os.fsync(oldest)
            finally:
                close_quietly(oldest)
        return parent


class OutputFolder(OutputView, LockedFolder):
    """Output folder that is locked from its opening to its closing.

    Raises:
        OutputError: the folder cannot be made or written, is full, or is locked by another run.
    """

    concurrency = 1

    def __init__(self, root: Path) -> None:
        self._made_root = False
        try:
            self._made_root = _make(root)
        except OSError as error:
            raise OutputError(f"cannot make {root} ({error.strerror})", remedy="choose another -o") from error
        super().__init__(root)
        with contextlib.ExitStack() as undo:
            undo.callback(close_quietly, self._root)
            try:
                self._state = _open_folder(self._root, STATE)
                self._staging = DiskStaging(self._state, self.root)
                undo.callback(self._staging.close)
                undo.callback(self._remove_empty_folders)
                self._lock = self._take_lock()
                undo.callback(self._unlock)
                self._staging.clean()
                self._staging.discard(self.stage(b"\0"))  # a folder that is full or read-only fails here
                journal = os.open(_JOURNAL, _STATE_FILE | os.O_APPEND, 0o666, dir_fd=self._state)
                undo.callback(close_quietly, journal)
            except OSError as error:
                raise unusable(self.root, error) from error
            self.journal = Journal(DiskLog(journal))
            """Journal of the folder, with the records of earlier runs."""

            undo.pop_all()

    def close(self, *, checked: bool = True) -> None:
        """Make the names of the outputs durable, and unlock the folder.

        Args:
            checked: whether a fault is raised; False while another error is being raised already.

        Raises:
            OutputError: the outputs have their names, but may lose them at a loss of power.
        """
        fault: OSError | None = None
        try:
            self._staging.clean()  # files that an interrupt between two steps has left
            self._sync_folders()
        except OSError as error:
            fault = error
        with contextlib.suppress(OSError):
            self.journal.close()
        if self.journal.empty:
            with contextlib.suppress(OSError):
                os.unlink(_JOURNAL, dir_fd=self._state)
        self._unlock()
        self._remove_empty_folders()
        self._staging.close()
        close_quietly(self._root)
        if fault is not None and checked:
            raise unusable(self.root, fault) from fault

    def stage(self, data: bytes) -> str:
        """Write a temporary file, which ``publish`` syncs, and return its name. Safe to call from several threads.

        Raises:
            OutputError: the folder cannot be written; nothing is left behind.
        """
        return self._staging.stage(data)

    def publish(self, outputs: Sequence[UnpublishedOutput]) -> list[str]:
        """Sync outputs, record them in the journal, then give them their names. One thread at a time.

        Returns:
            For each output, why it alone could not be published, or an empty string.

        Raises:
            OutputError: the folder became unusable; outputs published before are whole, and no temporary file is left.
        """
        reasons: list[str] = []
        try:
            self._staging.sync([one.staged for one in outputs])
            self.journal.append((one.output, one.record) for one in outputs)
            reasons.extend(self._name(one) for one in outputs)
        except OSError as error:
            raise unusable(self.root, error) from error
        finally:
            for one in outputs[len(reasons) :]:
                self._staging.discard(one.staged)
        return reasons

    def _name(self, one: UnpublishedOutput) -> str:
        if not one.staged:
            return ""
        folder, _, name = one.output.rpartition("/")
        try:
            parent = self._folder(folder, make=True)
            if one.replace:
                os.replace(one.staged, name, src_dir_fd=self._state, dst_dir_fd=parent)
            else:
                self._link(one.staged, name, parent)
        except OSError as error:
            if error.errno in _NAME_ERRORS:
                self._staging.discard(one.staged)
                return f"cannot be written to {one.output}: {_NAME_ERRORS[error.errno]}"
            raise
        return ""

    def _link(self, staged: str, name: str, parent: int) -> None:
        """Give a file its final name by a hard link, which unlike a rename never replaces a file."""
        try:
            os.link(staged, name, src_dir_fd=self._state, dst_dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            with contextlib.suppress(FileNotFoundError):
                os.stat(name, dir_fd=parent, follow_symlinks=False)
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
            os.replace(staged, name, src_dir_fd=self._state, dst_dir_fd=parent)
            return
        self._staging.discard(staged)

    def _sync_folders(self) -> None:
        while self._folders:
            _, descriptor = self._folders.popitem()
            try:
                os.fsync(descriptor)
            finally:
                close_quietly(descriptor)
        os.fsync(self._root)

    def _take_lock(self) -> int:
        """Take a lock of the kernel, which ends with the process however that ends, so that no lock is ever stale."""
        while True:
            descriptor = os.open(_LOCK, _STATE_FILE, 0o666, dir_fd=self._state)
            with contextlib.ExitStack() as undo:
                undo.callback(close_quietly, descriptor)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    owner = describe_lock_owner(os.pread(descriptor, _MAX_LOCK_BYTES, 0))
                    raise OutputError(
                        f"another run writes to {self.root}: {owner}", remedy="wait for it, or choose another -o"
                    ) from error
                if not _same_file(descriptor, _LOCK, self._state):
                    continue  # its owner has just removed the file
                undo.callback(self._remove_lock)
                owner_record = {"pid": os.getpid(), "host": socket.gethostname(), "command": " ".join(sys.argv)[:1000]}
                os.ftruncate(descriptor, 0)
                os.write(descriptor, json.dumps(owner_record).encode())
                undo.pop_all()
                return descriptor

    def _remove_lock(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(_LOCK, dir_fd=self._state)

    def _unlock(self) -> None:
        self._remove_lock()
        close_quietly(self._lock)

    def _remove_empty_folders(self) -> None:
        with contextlib.suppress(OSError):
            os.rmdir(STATE, dir_fd=self._root)
            if self._made_root:
                os.rmdir(self.root)


def read_journal(root: Path) -> Journal | None:
    """Read the journal of an output folder without locking the folder.

    Returns:
        The journal, or None if there is none.

    Raises:
        OutputError: the journal cannot be read.
    """
    try:
        return Journal(DiskLog(os.open(root / STATE / _JOURNAL, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(
            f"cannot read the journal in {root} ({error.strerror})", remedy="choose another -o"
        ) from error


def _make(root: Path) -> bool:
    root.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.mkdir(root)
    except FileExistsError:
        return False
    return True


def _open_folder(parent: int, name: str, *, make: bool = True) -> int:
    if name in (".", ".."):
        raise OSError(errno.EINVAL, f"{name!r} is not the name of a folder")
    try:
        return os.open(name, FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=parent)
    except FileNotFoundError:
        if not make:
            raise
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, dir_fd=parent)
    return os.open(name, FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=parent)


def _same_file(descriptor: int, name: str, folder: int) -> bool:
    mine = os.fstat(descriptor)
    try:
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


def describe_lock_owner(text: bytes) -> str:
    """Return as text which process wrote a lock file."""
    try:
        value = read_json(text)
        return f"process {int(value['pid'])} on {value['host']!s:.100}, {value['command']!s:.200}"
    except (ValueError, TypeError, KeyError):
        return "an unknown process"
