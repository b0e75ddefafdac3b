"""The memory that this process may use."""

import os
from pathlib import Path

from polyexport.runtime.cgroup import CGROUP, own_groups

__all__ = ["granted_memory"]

_UNKNOWN_BYTES = 4 << 30  # of a system that does not tell


def granted_memory(cgroup: Path = CGROUP) -> int:
    """Bytes of memory that are available to this process: those of the machine, or of the container's limit if less.

    A container that is limited to a part of a large host still sees the memory of the whole host; the kernel kills
    processes that exceed the limit.

    Args:
        cgroup: Folder in which the control groups (version 2 or 1) are mounted.
    """
    left = (_left(folder) for folder in own_groups("memory", cgroup))
    amounts = [_available(), *(amount for amount in left if amount is not None)]
    try:
        import resource
    except ImportError:  # no such limits on this system
        return min(amounts)
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return min(amounts) if soft == resource.RLIM_INFINITY else min(*amounts, soft)


def _available() -> int:
    try:
        with Path("/proc/meminfo").open(encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (ValueError, OSError):
        return _UNKNOWN_BYTES


def _left(folder: Path) -> int | None:
    """Return what the limit of one control group leaves, bytes; None without a limit."""
    for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        try:
            text = (folder / limit).read_text().strip()
            if text == "max" or int(text) >= 1 << 60:  # version 1 has a number for no limit
                return None
            # Most of what the group uses is cache of files, which the kernel gives up: half of the limit is counted on.
            return max(int(text) - int((folder / used).read_text()), int(text) // 2)
        except (OSError, ValueError):
            continue
    return None
