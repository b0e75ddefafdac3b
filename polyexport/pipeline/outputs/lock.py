"""Lock of an output folder on a disk: a lock of the kernel on a file that names the process that has it."""
# Every path here is relative to an open folder, which pathlib does not support.

import contextlib
import fcntl
import json
import os
import socket
import sys
from pathlib import Path

from polyexport.errors import OutputError
from polyexport.pipeline.outputs.staging import close_quietly, open_state_file
from polyexport.storage.strict_json import read_json

__all__ = ["FolderLock", "describe_lock_owner", "lock_owner", "same_file"]

_LOCK = "lock"
_MAX_LOCK_BYTES = 4096


class FolderLock:
    """A lock that is held from its making to its release.

    The kernel ends it with the process, however that ends, so that no lock is ever stale.

    Raises:
        OutputError: another run has locked the folder, or something that is not a file stands in the lock's place.
        OSError: the lock file cannot be made.
    """

    def __init__(self, state: int, root: Path) -> None:
        """Take the lock.

        Args:
            state: descriptor of the folder that holds the lock file, which stays open for as long as the lock is held.
            root: the output folder, for messages.
        """
        self._state = state
        while True:
            descriptor = open_state_file(_LOCK, os.O_RDWR | os.O_CREAT, state=state, root=root)
            with contextlib.ExitStack() as undo:
                undo.callback(close_quietly, descriptor)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    owner = describe_lock_owner(os.pread(descriptor, _MAX_LOCK_BYTES, 0))
                    raise OutputError(
                        f"another run writes to {root}: {owner}", remedy="wait for it, or choose another -o"
                    ) from error
                if not same_file(descriptor, _LOCK, state):
                    continue  # its owner has just removed the file
                undo.callback(self._remove)
                os.ftruncate(descriptor, 0)
                os.write(descriptor, lock_owner())
                undo.pop_all()
                self._descriptor = descriptor
                return

    def release(self) -> None:
        """Remove the lock file, and end the lock."""
        self._remove()
        close_quietly(self._descriptor)

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(_LOCK, dir_fd=self._state)


def lock_owner() -> bytes:
    """Return what this process writes into the lock file of a folder that it has locked."""
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "command": " ".join(sys.argv)[:1000]}
    return json.dumps(owner).encode()


def describe_lock_owner(text: bytes) -> str:
    """Return as text which process wrote a lock file."""
    try:
        value = read_json(text)
        return f"process {int(value['pid'])} on {value['host']!s:.100}, {value['command']!s:.200}"
    except (ValueError, TypeError, KeyError):
        return "an unknown process"


def same_file(descriptor: int, name: str, folder: int) -> bool:
    """Return whether a name in an open folder leads to an open file, without following links."""
    mine = os.fstat(descriptor)
    try:
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(mine, there)
