"""File descriptors: how many connections a server can hold before the kernel refuses it another."""

import contextlib
from pathlib import Path

from polyexport.errors import UsageError

__all__ = ["free_descriptors"]

_FEWEST = 32


def free_descriptors(wanted: int) -> int:
    """Count the file descriptors that this process can still open, and raise its own limit if it may and has to.

    Args:
        wanted: number of descriptors that would be enough.

    Returns:
        ``wanted``, or less if the process may not have as many, but at least 32.

    Raises:
        UsageError: the process can open fewer than 32.
    """
    try:
        import resource  # not on Windows, where nothing limits sockets in this way
    except ImportError:
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = _open_descriptors()
    if soft != resource.RLIM_INFINITY and soft < used + wanted:
        raised = used + wanted if hard == resource.RLIM_INFINITY else min(hard, used + wanted)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
    free = wanted if soft == resource.RLIM_INFINITY else min(wanted, soft - used)
    if free < min(_FEWEST, wanted):
        raise UsageError(
            f"this process may open {soft} files at a time, and has {used} open; connections need {_FEWEST}",
            remedy="raise the limit with ulimit -n",
        )
    return free


def _open_descriptors() -> int:
    for folder in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError):
            return sum(1 for _ in Path(folder).iterdir())
    return 64  # more than a server has open before its first connection
