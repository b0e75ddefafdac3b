"""The control groups of this process, whose limits hold for it."""

from collections.abc import Iterator
from pathlib import Path

__all__ = ["CGROUP", "own_groups"]

CGROUP = Path("/sys/fs/cgroup")
"""Folder in which control groups (version 2 or 1) are mounted."""

_MEMBERSHIP = Path("/proc/self/cgroup")


def own_groups(controller: str, cgroup: Path) -> Iterator[Path]:
    """Yield the folder of this process's control group and of every group above it; none where there are no groups.

    Args:
        controller: name of a controller of version 1, such as ``memory``. In version 2 one group has all of them.
        cgroup: Folder in which the control groups are mounted.
    """
    try:
        lines = _MEMBERSHIP.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = cgroup / controllers if controllers else cgroup
        folder = root / name.lstrip("/")
        for level in (folder, *folder.parents):
            yield level
            if level == root:
                break
