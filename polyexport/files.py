"""Files written whole or not at all."""

import contextlib
import os
import secrets
from pathlib import Path

from polyexport.errors import OutputError

__all__ = ["TEMPORARY_SUFFIX", "check_writable", "write_atomic"]

TEMPORARY_SUFFIX = ".polyexport-tmp"
"""Ends the name of every unfinished file; a random part before it keeps two writers apart."""


def write_atomic(path: Path, data: bytes) -> None:
    """Write ``data`` to a temporary file beside ``path``, sync it, and rename it.

    A link that stands at ``path`` is replaced, never written through. Missing parent folders are made.

    Raises:
        OutputError: the file cannot be written; the temporary file is removed and ``path`` is as it was.
    """
    # The temporary name does not contain the final one, which may already be as long as a name can be.
    temporary = path.parent / f".{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # O_EXCL: never through a file or link that somebody put there.
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
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
    """Make ``folder`` and prove that a file can be written there.

    Raises:
        OutputError: it is a file, read-only or full.
    """
    probe = folder / f".{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
    write_atomic(probe, b"")
    probe.unlink()
