"""An output folder in an object store, with the layout and the promises of one on a disk as far as a store keeps any.

    <output>/<color>/<name>.png                the outputs
    <output>/.polyexport/journal.jsonl         what they were made of
    <output>/.polyexport/journal-*.jsonl       the same of a run that goes on, or that was cut off
    <output>/.polyexport/lock                  while a run goes on: who holds the folder
    <output>/.polyexport/ask-*                 while one begins: who wants it
    <output>/.polyexport/tmp-*                 files on their way

Who wants the folder says so under a name of its own, and has it only if nobody else is seen to want it or to hold it:
of two that begin at once, whoever looks last sees the other. A store has no lock that ends with its process: the lock
of a process that was killed stays, unless it ran on this machine. What appears at an output's name during the run is
replaced.
"""

import contextlib
import hashlib
import json
import os
import secrets
import socket
import sys
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
    describe_lock_owner,
    read_journal,
)
from polyexport.pipeline.outputs.journal import Journal, Log
from polyexport.pipeline.outputs.staging import STATE, TEMPORARY, DiskStaging, LockedFolder, Staging, unusable
from polyexport.storage.stores import Store, Url

__all__ = ["StoreFolder", "StoreStaging", "StoreView", "open_folder", "open_staging", "open_view"]

_JOURNAL, _PART, _LOCK, _ASK = (f"{STATE}/{name}" for name in ("journal.jsonl", "journal-", "lock", "ask-"))
_ATTEMPTS = 8
_PAUSE_S = 0.4  # at most, and longer each time
_AT_A_TIME = 16  # requests
_MAX_JOURNAL_BYTES = 2**31
_MAX_LOCK_BYTES = 2**20


def open_folder(output: Path | Url) -> "OutputFolder | StoreFolder":
    """An output folder, locked until it is closed.

    Raises:
        OutputError: it cannot be made or written, or another run holds it.
    """
    return StoreFolder(output) if isinstance(output, Url) else OutputFolder(output)


def open_view(output: Path | Url) -> "tuple[OutputView | StoreView | None, Journal | None]":
    """An output folder and its journal, to look at; None for what there is not.

    Raises:
        OutputError: it cannot be looked at.
    """
    if isinstance(output, Url):
        view = StoreView(output)
        return view, Journal(_StoreLog(view.store))
    return OutputView(output) if output.exists() else None, read_journal(output)


def open_staging(output: Path | Url) -> Staging:
    """Of an output folder that another process holds.

    Raises:
        OutputError: it is not there.
    """
    return StoreStaging(_opened(output)) if isinstance(output, Url) else DiskStaging.of(output)


class StoreStaging:
    """``Staging`` in a store."""

    concurrency = _AT_A_TIME

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
        """What a store has taken, it has."""

    def read(self, staged: str) -> bytes:
        """See ``Staging``."""
        return self._store.read(f"{STATE}/{staged}", _MAX_JOURNAL_BYTES)

    def close(self) -> None:
        """Nothing is open."""


class StoreView:
    """An output folder in a store, to look at.

    Raises:
        OutputError: it cannot be looked at.
    """

    def __init__(self, root: Url) -> None:
        self.root = root
        self.store = _opened(root)
        self._pool = ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="store")
        try:
            entries = self.store.entries(recursive=True)
            self._there = {entry.name for entry in entries if entry.is_file and not entry.name.startswith(f"{STATE}/")}
        except OSError as error:
            raise self._cannot_look(error) from error

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def hash_outputs(self, outputs: Sequence[str]) -> list[str | None]:
        """SHA-256 of each output that exists; None if nothing has its name.

        Raises:
            OutputError: they cannot be looked at.
        """
        return list(self._pool.map(self._look, outputs))

    def _look(self, output: str) -> str | None:
        if output not in self._there:
            return None
        try:
            return hashlib.sha256(self.store.read(output, MAX_FILE_BYTES)).hexdigest()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._cannot_look(error) from error

    def _cannot_look(self, error: OSError) -> OutputError:
        return OutputError(f"cannot look at {self.root} ({error.strerror})", remedy="choose another -o")


class StoreFolder(StoreView, LockedFolder):
    """An output folder in a store, locked from its opening to its closing.

    Raises:
        OutputError: it cannot be written, or another run holds it.
    """

    concurrency = _AT_A_TIME

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
                """What stood in it when the folder was opened."""
            except OSError as error:
                raise unusable(root, error) from error
            undo.pop_all()

    def close(self, *, checked: bool = True) -> None:
        """Make one journal of its parts and give the folder back.

        Args:
            checked: whether a fault is raised; not where another error is on its way already.

        Raises:
            OutputError: the parts stay, and the next run reads them.
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
        """See ``Outputs``."""
        return self._staging.stage(data)

    def publish(self, pending: Sequence[UnpublishedOutput]) -> list[str]:
        """See ``Outputs``."""
        try:
            self.journal.append((one.output, one.record) for one in pending)
            list(self._pool.map(self._name, [one for one in pending if one.staged]))
        except OSError as error:
            raise unusable(self.root, error) from error
        return [""] * len(pending)

    def _name(self, one: UnpublishedOutput) -> None:
        self.store.move(f"{STATE}/{one.staged}", one.output)

    def _clean(self) -> None:
        """Remove temporary files that nobody is at: the lock is ours."""
        names = [entry.name for entry in self.store.entries(STATE, recursive=False)]
        removed = [f"{STATE}/{name}" for name in names if name.startswith(TEMPORARY)]
        list(self._pool.map(self.store.remove, removed))

    def _take_lock(self) -> None:
        me = {"pid": os.getpid(), "host": socket.gethostname(), "command": " ".join(sys.argv)[:1000]}
        mine = self._asked = f"{_ASK}{secrets.token_hex(8)}"
        other: tuple[str, bytes] = ("", b"")
        try:
            for attempt in range(1, _ATTEMPTS + 1):
                self._refuse_held()
                self.store.write(mine, json.dumps(me).encode())
                try:
                    found = self._other_asking(mine)
                    if found is None:
                        self._refuse_held()  # by one that asked before and has stopped asking since
                        self.store.write(_LOCK, json.dumps(me).encode())
                        return
                    other = found
                finally:
                    with contextlib.suppress(OSError):  # it is tried again at the end
                        self.store.remove(mine)
                time.sleep(secrets.SystemRandom().uniform(0, _PAUSE_S * attempt))
        except OSError as error:
            raise unusable(self.root, error) from error
        name, said = other
        raise OutputError(
            f"another run begins to write to {self.root}: {describe_lock_owner(said)}",
            remedy=f"wait for it; if it was killed, remove {self.root / name}",
        )

    def _refuse_held(self) -> None:
        try:
            held = self.store.read(_LOCK, _MAX_LOCK_BYTES)
        except FileNotFoundError:
            return
        if held and not _ended_here(held):
            raise OutputError(
                f"another run writes to {self.root}: {describe_lock_owner(held)}",
                remedy=f"wait for it; if it was killed, remove {self.root / _LOCK}",
            )

    def _other_asking(self, mine: str) -> tuple[str, bytes] | None:
        """Name and words of one."""
        names = [f"{STATE}/{entry.name}" for entry in self.store.entries(STATE, recursive=False)]
        for name in names:
            if not name.startswith(_ASK) or name == mine:
                continue
            try:
                said = self.store.read(name, _MAX_LOCK_BYTES)
            except FileNotFoundError:  # it has given up, or it has the lock
                said = b""
            if not _ended_here(said):
                return name, said
            self.store.remove(name)
        return None

    def _unlock(self) -> None:
        try:
            self.store.remove(self._asked)
            self.store.remove(_LOCK)
            if not any(entry.is_file for entry in self.store.entries(STATE, recursive=False)):
                self.store.remove_folder(STATE)
        except OSError:
            return  # the next run on this machine sees that we have ended


class _StoreLog(Log):
    """The lines of a journal: one object of earlier runs, and one for each group of outputs since."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._spool = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._parts: list[str] = []

    def blocks(self) -> Iterator[bytes]:
        names = sorted(entry.name for entry in self._store.entries(STATE, recursive=False))
        self._parts = [f"{STATE}/{name}" for name in names if f"{STATE}/{name}".startswith(_PART)]
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            for data in pool.map(self._read, [_JOURNAL, *self._parts]):
                block = data if data.endswith(b"\n") or not data else data + b"\n"
                self._spool.write(block)
                yield block

    def _read(self, name: str) -> bytes:
        try:
            return self._store.read(name, _MAX_JOURNAL_BYTES)
        except FileNotFoundError:
            return b""

    def append(self, data: bytes) -> None:
        # By time, so that the last word on an output stays the last when the parts are read again.
        name = f"{_PART}{len(self._parts):08d}-{secrets.token_hex(8)}.jsonl"
        self._store.write(name, data)
        self._parts.append(name)
        self._spool.write(data)

    def merge(self) -> None:
        """One object in the place of all."""
        if self._parts:
            self._spool.seek(0)
            self._store.write(_JOURNAL, self._spool.read())
            with ThreadPoolExecutor(_AT_A_TIME) as pool:
                list(pool.map(self._store.remove, self._parts))

    def close(self) -> None:
        self._spool.close()


def _opened(root: Url) -> Store:
    try:
        return Store(root)
    except OSError as error:
        raise unusable(root, error) from error


def _ended_here(held: bytes) -> bool:
    """Whether the holder of a lock ran on this machine and has ended."""
    try:
        value = json.loads(held)
        if value["host"] != socket.gethostname() or int(value["pid"]) == os.getpid():
            return False
        os.kill(int(value["pid"]), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return False
    return False
