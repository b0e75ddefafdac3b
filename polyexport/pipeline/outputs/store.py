"""Output folder in an object store, with the layout and the promises of one on a disk as far as a store can keep them.

    <output>/<color>/<name>.png                the outputs
    <output>/.polyexport/journal.jsonl         what each output was made from
    <output>/.polyexport/journal-*.jsonl       parts of the journal, of a run that goes on or was cut off
    <output>/.polyexport/lock                  the process that has locked the folder, during a run
    <output>/.polyexport/ask-*                 a process that asks for the lock, at the start of a run
    <output>/.polyexport/tmp-*                 temporary files

A process that wants the lock writes a request under a name of its own, and takes the lock only if it then sees neither
a lock nor another request: of two processes that start at once, the one that looks last sees the other. A store has no
lock that ends with its process: the lock of a process that was killed stays, unless that process ran on this machine.
A file that appears at an output's name during the run is replaced.
"""

import contextlib
import hashlib
import os
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from polyexport.errors import OutputError
from polyexport.imaging.pixels import MAX_FILE_BYTES
from polyexport.pipeline.outputs.disk import (
    OutputFolder,
    OutputView,
    UnpublishedOutput,
    read_journal,
)
from polyexport.pipeline.outputs.journal import Journal, Log
from polyexport.pipeline.outputs.lock import describe_lock_owner, lock_owner
from polyexport.pipeline.outputs.staging import STATE, TEMPORARY, DiskStaging, LockedFolder, Staging, unusable
from polyexport.storage.spelling import Spelling, guess_spelling
from polyexport.storage.stores import Store, Url
from polyexport.storage.strict_json import read_json

__all__ = ["StoreFolder", "StoreStaging", "StoreView", "open_folder", "open_staging", "open_view", "view_spelling"]

_JOURNAL, _JOURNAL_PART, _LOCK, _LOCK_REQUEST = (
    f"{STATE}/{name}" for name in ("journal.jsonl", "journal-", "lock", "ask-")
)
_LOCK_ATTEMPTS = 8
_LOCK_PAUSE_S = 0.4  # longest pause after the first attempt; later pauses are longer
_CONCURRENT_REQUESTS = 16
_MAX_JOURNAL_BYTES = 2**31
_MAX_LOCK_BYTES = 2**20


def open_folder(output: Path | Url) -> "OutputFolder | StoreFolder":
    """Open an output folder, locked until it is closed.

    Raises:
        OutputError: the folder cannot be made or written, or is locked by another run.
    """
    return StoreFolder(output) if isinstance(output, Url) else OutputFolder(output)


def open_view(output: Path | Url) -> "tuple[OutputView | StoreView | None, Journal | None]":
    """Open an output folder and its journal for reading.

    Returns:
        The folder and the journal, each None if it does not exist.

    Raises:
        OutputError: the folder cannot be read.
    """
    if isinstance(output, Url):
        view = StoreView(output)
        return view, Journal(_StoreLog(view.store))
    return OutputView(output) if output.exists() else None, read_journal(output)


def view_spelling(output: Path | Url) -> Spelling:
    """Return which spellings of a name are one name in an output folder, as far as can be told without writing."""
    return Spelling() if isinstance(output, Url) else guess_spelling(output / STATE)


def open_staging(output: Path | Url) -> Staging:
    """Open the staging of an output folder that another process has locked.

    Raises:
        OutputError: the folder does not exist.
    """
    return StoreStaging(_opened(output)) if isinstance(output, Url) else DiskStaging.of(output)


class StoreStaging:
    """``Staging`` in an object store."""

    concurrency = _CONCURRENT_REQUESTS

    def __init__(self, store: Store) -> None:
        self._store = store

    def stage(self, data: bytes) -> str:
        """See ``Staging``."""
        name = f"{TEMPORARY}{secrets.token_hex(8)}"
        try:
            self._store.write(f"{STATE}/{name}", data)
        except OSError as error:
            raise unusable(self._store.url, error) from error
        return name

    def sync(self, staged: Sequence[str]) -> None:
        """Do nothing: a store keeps what it has accepted."""

    def read(self, staged: str) -> bytes:
        """See ``Staging``."""
        return self._store.read(f"{STATE}/{staged}", _MAX_JOURNAL_BYTES)

    def close(self) -> None:
        """Do nothing: a store has no open files."""


class StoreView:
    """Read access to an output folder in an object store.

    Raises:
        OutputError: the folder cannot be read.
    """

    def __init__(self, root: Url) -> None:
        self.root = root
        self.store = _opened(root)
        self._pool = ThreadPoolExecutor(_CONCURRENT_REQUESTS, thread_name_prefix="store")
        try:
            entries = self.store.entries(recursive=True)
            self._names = {entry.name for entry in entries if entry.is_file and not entry.name.startswith(f"{STATE}/")}
        except OSError as error:
            raise self._unreadable(error) from error

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def hash_outputs(self, outputs: Sequence[str]) -> list[str | None]:
        """Return the SHA-256 of each output that exists, and None for each that does not.

        Raises:
            OutputError: the outputs cannot be read.
        """
        return list(self._pool.map(self._hash_output, outputs))

    def _hash_output(self, output: str) -> str | None:
        if output not in self._names:
            return None
        try:
            return hashlib.sha256(self.store.read(output, MAX_FILE_BYTES)).hexdigest()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> OutputError:
        return OutputError(f"cannot read {self.root} ({error.strerror})", remedy="choose another -o")


class StoreFolder(StoreView, LockedFolder):
    """Output folder in an object store, locked from its opening to its closing.

    Raises:
        OutputError: the folder cannot be written, or is locked by another run.
    """

    concurrency = _CONCURRENT_REQUESTS

    def __init__(self, root: Url) -> None:
        super().__init__(root)
        self._staging = StoreStaging(self.store)
        with contextlib.ExitStack() as undo:
            undo.callback(super().close)
            self._take_lock()
            undo.callback(self._unlock)
            self._log = _StoreLog(self.store)
            undo.callback(self._log.close)
            try:
                self._clean()
                self.journal = Journal(self._log)
                """Journal of the folder, with the records of earlier runs."""
            except OSError as error:
                raise unusable(root, error) from error
            undo.pop_all()

    def spelling(self) -> Spelling:
        """Return that a store tells all spellings apart."""
        return Spelling()

    def check_place(self) -> None:
        """See ``LockedFolder``."""
        try:
            names = {f"{STATE}/{entry.name}" for entry in self.store.entries(STATE, recursive=False)}
        except OSError as error:
            raise unusable(self.root, error) from error
        if missing := {_LOCK, *self._log.parts} - names:
            raise OutputError(
                f"{self.root} was moved or removed during the run: {min(missing)} is missing there",
                remedy="move it back, then run the same command again, which makes what is missing",
            )

    def close(self, *, checked: bool = True) -> None:
        """Merge the parts of the journal, and unlock the folder.

        Args:
            checked: whether a fault is raised; False while another error is being raised already.

        Raises:
            OutputError: the parts could not be merged; they stay, and the next run reads them.
        """
        fault: OSError | None = None
        try:
            self._clean()
            self._log.merge()
        except OSError as error:
            fault = error
        self.journal.close()
        self._unlock()
        super().close()
        if fault is not None and checked:
            raise unusable(self.root, fault) from fault

    def stage(self, data: bytes) -> str:
        """See ``OutputSink``."""
        return self._staging.stage(data)

    def publish(self, outputs: Sequence[UnpublishedOutput]) -> list[str]:
        """See ``OutputSink``."""
        try:
            self.journal.append((one.output, one.record) for one in outputs)
            list(self._pool.map(self._name, [one for one in outputs if one.staged]))
        except OSError as error:
            raise unusable(self.root, error) from error
        return [""] * len(outputs)

    def _name(self, one: UnpublishedOutput) -> None:
        self.store.move(f"{STATE}/{one.staged}", one.output)

    def _clean(self) -> None:
        """Remove the temporary files of earlier runs; this process has the lock, so no other run uses them."""
        names = [entry.name for entry in self.store.entries(STATE, recursive=False)]
        removed = [f"{STATE}/{name}" for name in names if name.startswith(TEMPORARY)]
        list(self._pool.map(self.store.remove, removed))

    def _take_lock(self) -> None:
        request = self._request = f"{_LOCK_REQUEST}{secrets.token_hex(8)}"
        other: tuple[str, bytes] = ("", b"")
        try:
            for attempt in range(1, _LOCK_ATTEMPTS + 1):
                self._refuse_locked()
                self.store.write(request, lock_owner())
                try:
                    found = self._other_request(request)
                    if found is None:
                        self._refuse_locked()  # another process may have taken the lock and removed its request
                        self.store.write(_LOCK, lock_owner())
                        return
                    other = found
                finally:
                    with contextlib.suppress(OSError):  # removed at the end of the run otherwise
                        self.store.remove(request)
                time.sleep(secrets.SystemRandom().uniform(0, _LOCK_PAUSE_S * attempt))
        except OSError as error:
            raise unusable(self.root, error) from error
        name, content = other
        raise OutputError(
            f"another run begins to write to {self.root}: {describe_lock_owner(content)}",
            remedy=f"wait for it; if it was killed, remove {self.root / name}",
        )

    def _refuse_locked(self) -> None:
        try:
            lock = self.store.read(_LOCK, _MAX_LOCK_BYTES)
        except FileNotFoundError:
            return
        if lock and not _ended_here(lock):
            raise OutputError(
                f"another run writes to {self.root}: {describe_lock_owner(lock)}",
                remedy=f"wait for it; if it was killed, remove {self.root / _LOCK}",
            )

    def _other_request(self, own: str) -> tuple[str, bytes] | None:
        """Return the name and content of another request, or None; removes requests of ended processes."""
        names = [f"{STATE}/{entry.name}" for entry in self.store.entries(STATE, recursive=False)]
        for name in names:
            if not name.startswith(_LOCK_REQUEST) or name == own:
                continue
            try:
                content = self.store.read(name, _MAX_LOCK_BYTES)
            except FileNotFoundError:  # the other process has given up, or has the lock
                content = b""
            if not _ended_here(content):
                return name, content
            self.store.remove(name)
        return None

    def _unlock(self) -> None:
        # The state folder stays, even if it is empty: a store removes a folder with everything in it, which may be the
        # request or the lock of another process by now.
        with contextlib.suppress(OSError):  # the next run on this machine sees that this process has ended
            self.store.remove(self._request)
            self.store.remove(_LOCK)


class _StoreLog(Log):
    """``Log`` in an object store: one object of earlier runs, and one for each group of outputs of this run."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._spool = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self.parts: list[str] = []
        """Names of the objects with the lines of this run, and of earlier runs that were cut off."""

    def blocks(self) -> Iterator[bytes]:
        """See ``Log``."""
        names = sorted(entry.name for entry in self._store.entries(STATE, recursive=False))
        self.parts = [f"{STATE}/{name}" for name in names if f"{STATE}/{name}".startswith(_JOURNAL_PART)]
        with ThreadPoolExecutor(_CONCURRENT_REQUESTS) as pool:
            for data in pool.map(self._read, [_JOURNAL, *self.parts]):
                block = data if data.endswith(b"\n") or not data else data + b"\n"
                self._spool.write(block)
                yield block

    def _read(self, name: str) -> bytes:
        try:
            return self._store.read(name, _MAX_JOURNAL_BYTES)
        except FileNotFoundError:
            return b""

    def append(self, data: bytes) -> None:
        """See ``Log``."""
        # Names sort by time, so that the latest record of an output stays the latest when the parts are read again.
        name = f"{_JOURNAL_PART}{len(self.parts):08d}-{secrets.token_hex(8)}.jsonl"
        self._store.write(name, data)
        self.parts.append(name)
        self._spool.write(data)

    def merge(self) -> None:
        """Replace all parts by one object."""
        if self.parts:
            self._spool.seek(0)
            self._store.write(_JOURNAL, self._spool.read())
            with ThreadPoolExecutor(_CONCURRENT_REQUESTS) as pool:
                list(pool.map(self._store.remove, self.parts))

    def close(self) -> None:
        """See ``Log``."""
        self._spool.close()


def _opened(root: Url) -> Store:
    try:
        return Store(root)
    except OSError as error:
        raise unusable(root, error) from error


def _ended_here(lock: bytes) -> bool:
    """Return whether the process that wrote a lock or a request ran on this machine and has ended."""
    try:
        value = read_json(lock)
        if value["host"] != socket.gethostname() or int(value["pid"]) == os.getpid():
            return False
        os.kill(int(value["pid"]), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return False
    return False
