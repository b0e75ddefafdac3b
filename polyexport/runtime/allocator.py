"""The freed memory that the allocator of the C library keeps for the next request."""

import contextlib
import ctypes

__all__ = ["keep_freed_memory", "return_freed_memory"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # numbers from malloc.h
_LARGEST_THRESHOLD = 2**31 - 1


def keep_freed_memory() -> None:
    """Keep what is freed: for a command that makes large tensors again and again, and ends.

    By itself glibc maps every block of 32 MiB or more anew, and the system clears each of its pages: a tenth of the
    time of a convolutional network on PyTorch.
    """
    _set_thresholds(_LARGEST_THRESHOLD)


def return_freed_memory(threshold: int) -> None:
    """Give freed blocks from a size on back to the system at once: for a process that runs for long.

    By itself glibc keeps blocks of up to 32 MiB once it has seen such sizes.

    Args:
        threshold: Size of the smallest such block, bytes.
    """
    _set_thresholds(threshold)


def _set_thresholds(size: int) -> None:
    with contextlib.suppress(OSError, AttributeError):  # the C library may be another than glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, size)
        mallopt(_M_TRIM_THRESHOLD, size)
