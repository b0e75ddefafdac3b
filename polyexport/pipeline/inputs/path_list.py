"""Lists of input paths, as ``find`` or ``find -print0`` writes them."""

import errno
import os
import select
import stat

from polyexport.errors import UsageError
from polyexport.storage.files import read_limited, read_stream

__all__ = ["MAX_LIST_BYTES", "read_list", "read_list_file"]

MAX_LIST_BYTES = 256 * 1024 * 1024
"""Largest accepted list of paths: two million paths of 128 bytes."""

_WRITER_TIMEOUT_MS = 1000  # time in which a process that writes to a named pipe has to open it


def read_list_file(path: str) -> list[str]:
    """Read a list of paths from a file, or from a pipe that a process writes to, as in ``<(find ...)`` of a shell.

    Args:
        path: the file or the named pipe.

    Raises:
        UsageError: a list as ``read_list`` refuses it, or a file that cannot be read, such as a pipe without a writer.
    """
    try:
        pipe = stat.S_ISFIFO(os.stat(path).st_mode)  # noqa: PTH116 - text stays text
        return read_list(_read_pipe(path) if pipe else read_limited(path, MAX_LIST_BYTES))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror})", remedy="give a list of paths") from error


def _read_pipe(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        start = b""
        if not poller.poll(_WRITER_TIMEOUT_MS):
            try:
                start = os.read(descriptor, 1)
            except BlockingIOError:
                pass  # a process has the pipe open, and has not written to it yet
            else:
                if not start:
                    raise OSError(errno.EPIPE, "a pipe that no process writes to")
        os.set_blocking(descriptor, True)
        return start + read_stream(file, MAX_LIST_BYTES - len(start))


def read_list(data: bytes) -> list[str]:
    """Split a list of paths, at NUL characters if it has any, else at line ends.

    Empty entries are left out. Bytes that are not UTF-8 are kept in the way in which the file system's own decoding
    keeps them.

    Args:
        data: the bytes of the list.

    Raises:
        UsageError: a list without paths, or one of more than ``MAX_LIST_BYTES``.
    """
    if len(data) > MAX_LIST_BYTES:
        raise UsageError(f"the list of inputs has more than {MAX_LIST_BYTES} bytes", remedy="split it")
    if b"\0" in data:
        entries = data.split(b"\0")
    else:
        entries = [line.removesuffix(b"\r") for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    try:
        paths = [os.fsdecode(entry) for entry in entries if entry]
    except UnicodeDecodeError as error:  # on systems whose file names are Unicode
        raise UsageError("the list of inputs is not UTF-8", remedy="write it as UTF-8") from error
    if not paths:
        raise UsageError("the list of inputs is empty", remedy="give one path a line")
    return paths
