"""Folders for files that other libraries need to read or write on the way to a result."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from polyexport.storage.temporary import remove_abandoned, temporary_folder

__all__ = ["scratch_folder"]


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
