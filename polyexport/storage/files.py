"""Reading files up to a size limit, and writing files atomically."""

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path

from polyexport.errors import OutputError

__all__ = ["TEMPORARY_SUFFIX", "check_writable", "open_regular", "read_limited", "write_atomic"]

TEMPORARY_SUFFIX = ".polyexport-tmp"
"""Suffix of the name of every unfinished file; the random part before it keeps two writers apart."""


def open_regular(path: str | Path, flags: int = os.O_RDONLY, *, dir_fd: int | None = None) -> int:
    """Open a regular file without ever waiting for it.

    Args:
        path: The file.
        flags: Flags of ``os.open``; the descriptor does not block, and is not inherited.
        dir_fd: Descriptor of the folder that a relative path begins in; None for the working folder.

    Returns:
        The descriptor.

    Raises:
        OSError: The file cannot be opened, or is a pipe, a socket, a device or a folder (``EINVAL`` or the system's
            own error).
    """
    flags |= getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o666, dir_fd=dir_fd)
    try:
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
    except BaseException:
        os.close(descriptor)
        raise
    if not regular:
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file")
    return descriptor


def read_limited(path: str | Path, max_bytes: int) -> bytes:
    """Read a regular file of at most ``max_bytes``; a pipe or a device is refused without blocking.

    Raises:
        OSError: The file is unreadable, not a regular file (``EINVAL``) or too large (``EFBIG``); ``strerror`` says
            which.
    """
    with os.fdopen(open_regular(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        data = b"" if size > max_bytes else file.read(max_bytes + 1)
        if max(size, len(data)) > max_bytes:
            raise OSError(errno.EFBIG, f"{size} bytes, more than the limit of {max_bytes}")
        return data


def write_atomic(path: Path, data: bytes) -> None:
    """Write ``data`` to a temporary file beside ``path``, sync it to the disk, and rename it to ``path``.

    A link at ``path`` is replaced, never written through. Missing parent folders are created.

    Raises:
        OutputError: The file cannot be written; the temporary file is removed and ``path`` is as it was. The cause is
            the OSError.
    """
    # The temporary name does not contain the final one, which may already be as long as a name can be.
    temporary = path.parent / f".{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # O_EXCL: a file or link that another process put there is never opened.
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(
            f"cannot write {path} ({error.strerror or error})", remedy="free space there or choose another output"
        ) from error


def check_writable(folder: Path) -> None:
    """Create ``folder`` if it is missing, and test that a file can be written there.

    Raises:
        OutputError: The folder is a file, is read-only, or its disk is full.
    """
    probe = folder / f".{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
    write_atomic(probe, b"")
    probe.unlink()
