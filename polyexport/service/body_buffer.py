"""Memory of one request's body, which takes as much as has arrived and is given back to the system at once.

A bytearray that grows to 32 MiB is copied several times by the event loop, and its memory stays with the process.
"""

import contextlib
import mmap
from types import TracebackType
from typing import Self

__all__ = ["BodyBuffer", "find"]

_SEARCH_BYTES = 256 * 1024


class BodyBuffer:
    """Bytes of a body in the order in which they arrive."""

    def __init__(self, capacity: int) -> None:
        """Reserve memory, which is taken when bytes arrive.

        Args:
            capacity: largest number of bytes.

        Raises:
            OSError: there is not enough memory.
        """
        self._memory = mmap.mmap(-1, max(1, capacity), flags=mmap.MAP_PRIVATE)
        self.size = 0

    def append(self, data: bytes) -> None:
        """Add bytes at the end."""
        self._memory[self.size : self.size + len(data)] = data
        self.size += len(data)

    def view(self) -> memoryview:
        """Return the bytes that have arrived; the view is released before the buffer."""
        with memoryview(self._memory) as whole:
            return whole[: self.size]

    def close(self) -> None:
        """Give the memory back, or leave that to the last view of it that an exception may still hold."""
        with contextlib.suppress(BufferError):
            self._memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def find(view: memoryview, wanted: bytes, start: int) -> int:
    """Find bytes as ``bytes.find`` does, in steps that hold the interpreter's lock for less than 1 ms.

    Args:
        view: the bytes to search.
        wanted: the bytes to find.
        start: index at which the search begins.

    Returns:
        The index of the first occurrence that begins at ``start`` or behind it, or -1.
    """
    while start < len(view):
        found = bytes(view[start : start + _SEARCH_BYTES + len(wanted) - 1]).find(wanted)
        if found >= 0:
            return start + found
        start += _SEARCH_BYTES
    return -1
