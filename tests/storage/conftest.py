"""Trees of files, for comparison."""

from collections.abc import Callable
from pathlib import Path

import pytest

Tree = Callable[[Path], dict[str, bytes]]


@pytest.fixture
def tree() -> Tree:
    """Path of every file below a folder, also of hidden ones, and its bytes."""

    def read(folder: Path) -> dict[str, bytes]:
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    return read
