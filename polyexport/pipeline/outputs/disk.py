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
import hashlib
import os
import stat
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from polyexport.errors import OutputError, UsageError
from polyexport.pipeline.outputs.journal import DiskLog, Journal, Record
from polyexport.pipeline.outputs.lock import FolderLock, same_file
from polyexport.pipeline.outputs.place import FolderPlace
from polyexport.pipeline.outputs.staging import (
    FOLDER_FLAGS,
    STATE,
    DiskStaging,
    LockedFolder,
    close_quietly,
    files_kept_open,
    open_state_file,
    unusable,
)
from polyexport.storage.files import open_regular
from polyexport.storage.spelling import Spelling

__all__ = ["OutputFolder", "OutputSink", "OutputView", "UnpublishedOutput", "read_journal"]

_JOURNAL = "journal.jsonl"
_MAX_OPEN_FOLDERS = 32

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
        self._max_folders = files_kept_open(_MAX_OPEN_FOLDERS, share=8)
        with contextlib.ExitStack() as undo:
            try:
                self._root = os.open(root, FOLDER_FLAGS)
                undo.callback(close_quietly, self._root)
                self._place = FolderPlace(root, self._root)
            except OSError as error:
                raise unusable(self.root, error) from error
            undo.pop_all()

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
            if stat.S_ISDIR(mode):
                raise UsageError(f"the output {self.root / output} is a folder", remedy="choose another -o")
            if not stat.S_ISREG(mode):
                return "-"
            with os.fdopen(open_regular(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=parent), "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
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
        parent, path = os.dup(self._root), ""
        try:
            for part in filter(None, folder.split("/")):
                path = f"{path}/{part}" if path else part
                # A folder that was there before and is gone was moved or removed by somebody else: ``check_place``.
                inner = _open_folder(parent, part, make=make and path not in self._place)
                close_quietly(parent)
                parent = inner
                self._place.add(path, parent)
        except BaseException:
            close_quietly(parent)
            raise
        self._folders[folder] = parent
        if len(self._folders) > self._max_folders:
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
                self._place.add(STATE, self._state)
                self._lock = FolderLock(self._state, self.root)
                undo.callback(self._lock.release)
                self._staging.clean()
                self._staging.discard(self.stage(b"\0"))  # a folder that is full or read-only fails here
                self._log = open_state_file(
                    _JOURNAL, os.O_RDWR | os.O_CREAT | os.O_APPEND, state=self._state, root=root
                )
                undo.callback(close_quietly, self._log)
            except OSError as error:
                raise unusable(self.root, error) from error
            self.journal = Journal(DiskLog(self._log))
            """Journal of the folder, with the records of earlier runs."""
            self.stage_file = self._staging.stage_file
            undo.pop_all()

    def spelling(self) -> Spelling:
        """See ``LockedFolder``."""
        return self._staging.spelling()

    def check_place(self) -> None:
        """See ``LockedFolder``."""
        try:
            self._check_place()
        except OSError as error:
            raise unusable(self.root, error) from error

    def _check_place(self, folders: Sequence[str] | None = None) -> None:
        """Check the output folder and folders in it, all of them if none is given. Raises OutputError and OSError."""
        self._place.check({STATE: self._state, **self._folders}, folders)
        if not same_file(self._log, _JOURNAL, self._state):
            raise OutputError(
                f"the journal {self.root / STATE / _JOURNAL} was moved, removed or replaced during the run",
                remedy="choose another -o, or run the same command again with --overwrite",
            )

    def _fault(self, error: OSError) -> OutputError:
        """Return the error to raise when an operation failed: where the folder is now, or what the system said."""
        try:
            self._check_place()
        except OutputError as moved:
            return moved
        except OSError:
            pass
        return unusable(self.root, error)

    def close(self, *, checked: bool = True) -> None:
        """Make the names of the outputs durable, and unlock the folder.

        Args:
            checked: whether a fault is raised; False while another error is being raised already.

        Raises:
            OutputError: the outputs have their names, but may lose them at a loss of power.
        """
        fault: OutputError | None = None
        try:
            self._staging.clean()  # files that an interrupt between two steps has left
            self._sync_folders()
        except OSError as error:
            fault = self._fault(error)
        with contextlib.suppress(OSError):
            self.journal.close()
        if self.journal.empty:
            with contextlib.suppress(OSError):
                os.unlink(_JOURNAL, dir_fd=self._state)
        self._lock.release()
        self._remove_empty_folders()
        self._staging.close()
        close_quietly(self._root)
        if fault is not None and checked:
            raise fault

    def stage(self, data: bytes) -> str:
        """Write a temporary file, which ``publish`` syncs, and return its name. Safe to call from several threads.

        Raises:
            OutputError: the folder cannot be written; nothing is left behind.
        """
        try:
            return self._staging.stage(data)
        except OutputError:
            with contextlib.suppress(OSError):
                self._place.check({STATE: self._state}, [STATE])  # a folder that was moved or removed is the reason
            raise

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
            # Looked at last, so that no output is reported that lost its place while its group was published.
            self._check_place([STATE, *{one.output.rpartition("/")[0]: None for one in outputs if one.staged}])
        except OSError as error:
            raise self._fault(error) from error
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
        self._place.add_output(one.output)
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

    def _remove_empty_folders(self) -> None:
        with contextlib.suppress(OSError):
            os.rmdir(STATE, dir_fd=self._root)
            if self._made_root and self._place.leads_here():
                os.rmdir(self.root)


def read_journal(root: Path) -> Journal | None:
    """Read the journal of an output folder without locking the folder.

    Returns:
        The journal, or None if there is none.

    Raises:
        OutputError: the journal cannot be read.
    """
    try:
        state = os.open(root / STATE, FOLDER_FLAGS | os.O_NOFOLLOW)
        try:
            return Journal(DiskLog(open_state_file(_JOURNAL, os.O_RDONLY, state=state, root=root)))
        finally:
            close_quietly(state)
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
