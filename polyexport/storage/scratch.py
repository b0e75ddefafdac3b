"""Folders for files that other libraries need to read or write on the way to a result."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from polyexport.storage.temporary import remove_abandoned, temporary_folder

__all__ = ["libraries_in_scratch_folder", "scratch_folder"]


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a private folder in the system's folder for temporary files, and remove it at the end of the block.

    If the process is killed, the next one that makes such a folder removes it.

    Raises:
        OSError: The folder cannot be made.
    """
    parent = Path(tempfile.gettempdir())
    remove_abandoned(parent)
    with temporary_folder(parent, mode=0o700) as folder:
        yield folder


@contextlib.contextmanager
def libraries_in_scratch_folder() -> Iterator[None]:
    """Let other libraries make their own temporary files in a scratch folder, for the length of the block.

    For the main thread: the folder is that of ``tempfile`` in the whole process.

    Raises:
        OSError: The folder cannot be made.
    """
    with scratch_folder() as folder:
        before = tempfile.tempdir
        tempfile.tempdir = str(folder)
        try:
            yield
        finally:
            tempfile.tempdir = before
