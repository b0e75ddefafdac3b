"""Reading files up to a size limit, and writing files atomically."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from polyexport.errors import OutOfMemoryError, OutputError
from polyexport.storage.temporary import create_file, remove_abandoned

__all__ = [
    "check_output_file",
    "check_writable",
    "open_regular",
    "read_limited",
    "read_stream",
    "unwritable",
    "write_atomic",
    "write_together",
]

_PIECE_BYTES = 1024 * 1024
"""Number of bytes that are asked for first where the length of a stream is not known."""

_OTHER_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a link",
}


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


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_stream(stream: _Stream, max_bytes: int, *, expected_bytes: int = 0) -> bytes:
    """Read a stream to its end. Memory is taken for what the stream holds, whatever the limit is.

    Args:
        stream: A binary stream; it may give fewer bytes than are asked for, and none only at its end.
        max_bytes: Largest number of bytes that is accepted.
        expected_bytes: Number of bytes that the stream probably holds; that many are read without being copied.

    Raises:
        OSError: The stream cannot be read, or holds more than ``max_bytes`` (``EFBIG``).
    """
    pieces: list[bytes] = []
    left = max_bytes + 1
    wanted, next_wanted = expected_bytes or _PIECE_BYTES, _PIECE_BYTES
    while left and (piece := stream.read(min(wanted, left))):
        pieces.append(piece)
        left -= len(piece)
        wanted, next_wanted = next_wanted, 2 * next_wanted  # fewer and larger pieces: each may cost a request
    if not left:
        raise OSError(errno.EFBIG, f"more than the limit of {max_bytes} bytes")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def read_limited(path: str | Path, max_bytes: int) -> bytes:
    """Read a regular file of at most ``max_bytes``; a pipe or a device is refused without blocking.

    A file whose size is not known beforehand, such as those under ``/proc``, and a file that changes its size meanwhile
    are read to their end.

    Raises:
        OSError: The file is unreadable, not a regular file (``EINVAL``) or too large (``EFBIG``); ``strerror`` says
            which.
        OutOfMemoryError: The file is larger than the memory that is left.
    """
    with os.fdopen(open_regular(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise OSError(errno.EFBIG, f"{size} bytes, more than the limit of {max_bytes}")
        try:
            return read_stream(file, max_bytes, expected_bytes=size)
        except MemoryError as error:
            raise OutOfMemoryError(f"reading {path}, which has {size} bytes") from error


def write_atomic(path: Path, data: bytes) -> None:
    """Write ``data`` to a temporary file beside ``path``, sync it to the disk, and rename it to ``path``.

    A link at ``path`` is replaced, never written through. Missing parent folders are created. The first write into a
    folder removes the temporary files that killed processes have left there.

    Raises:
        OutputError: A folder, pipe or device stands at ``path``, or the file cannot be written; the temporary file is
            removed and ``path`` is as it was. The cause is the OSError.
    """
    write_together({path: data})


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write several files, each as ``write_atomic`` does; none gets its name before all are on the disk.

    Args:
        files: Paths and contents, in the order in which the files get their names.

    Raises:
        OutputError: A folder, pipe or device stands at a path, or a file cannot be written; the temporary files are
            removed, and every path is as it was, except those before one whose file could not be renamed.
    """
    with contextlib.ExitStack() as stack:
        temporaries = {path: stack.enter_context(_synced(path, data)) for path, data in files.items()}
        for path, temporary in temporaries.items():
            try:
                temporary.replace(path)
            except OSError as error:
                raise unwritable(path, error) from error


@contextlib.contextmanager
def _synced(path: Path, data: bytes) -> Iterator[Path]:
    """Write data to a temporary file beside a path, for a ``with`` block that renames it."""
    try:
        _refuse_irreplaceable(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(path.parent)
        temporary, descriptor = create_file(path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                if os.name == "posix":
                    yield temporary  # while it is locked; Windows has no such lock and renames no open file
            if os.name != "posix":
                yield temporary
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise unwritable(path, error) from error


def check_writable(folder: Path) -> None:
    """Create ``folder`` if it is missing, and test that a file can be written there.

    Raises:
        OutputError: The folder is a file, is read-only, or its disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(folder)
        probe, descriptor = create_file(folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(b"\0")  # an empty file needs no room
                file.flush()
                os.fsync(file.fileno())
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error


def check_output_file(path: Path) -> None:
    """Check before the work that ``write_atomic`` can write to a path that a user named; nothing is opened.

    A link is refused here, because writing would replace it, and not the file that it points to.

    Raises:
        OutputError: A folder, link, pipe or device stands at ``path``, or its folder cannot be written.
    """
    try:
        kind = _kind_of(path)
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot look at {path} ({error})", remedy="choose another output") from error
    if kind not in (None, stat.S_IFREG):
        raise OutputError(
            f"the output {path} is {_OTHER_KINDS.get(kind, 'not a file')}, expected a file or nothing there",
            remedy="name another file",
        )
    check_writable(path.parent)


def unwritable(path: Path, error: OSError) -> OutputError:
    """Return the error to raise when an output cannot be written."""
    return OutputError(
        f"cannot write {path} ({error.strerror or error})", remedy="free space there or choose another output"
    )


def _refuse_irreplaceable(path: Path) -> None:
    kind = _kind_of(path)
    if kind not in (None, stat.S_IFREG, stat.S_IFLNK):
        code = errno.EISDIR if kind == stat.S_IFDIR else errno.EINVAL
        raise OSError(code, f"{_OTHER_KINDS.get(kind, 'not a file')} stands there")


def _kind_of(path: Path) -> int | None:
    """Return which kind of file stands at a path, an ``S_IF`` constant, without following a link; None if none does."""
    try:
        return stat.S_IFMT(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None
