"""Reading files up to a size limit, and writing files atomically."""

import contextlib
import errno
import os
import stat
from pathlib import Path

from polyexport.errors import OutputError
from polyexport.storage.temporary import create_file, remove_abandoned

__all__ = ["check_output_file", "check_writable", "open_regular", "read_limited", "unwritable", "write_atomic"]

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

    A link at ``path`` is replaced, never written through. Missing parent folders are created. The first write into a
    folder removes the temporary files that killed processes have left there.

    Raises:
        OutputError: A folder, pipe or device stands at ``path``, or the file cannot be written; the temporary file is
            removed and ``path`` is as it was. The cause is the OSError.
    """
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
                    temporary.replace(path)  # while it is locked; Windows has no such lock and renames no open file
            if os.name != "posix":
                temporary.replace(path)
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
