"""The control groups of this process, whose limits hold for it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CGROUP", "Throttling", "own_groups", "throttling"]

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Throttling:
    """Suspensions of processes that used up the quota of their control group, since the group was made."""

    times: int
    """Number of periods in which processes of the group were suspended."""

    seconds: float
    """Time of the suspensions, summed over the cores."""


def throttling(cgroup: Path = CGROUP) -> Throttling | None:
    """Suspensions by the quotas of this process's control group and those above it; None where no group counts them.

    Args:
        cgroup: Folder in which the control groups are mounted.
    """
    times, seconds, found = 0, 0.0, False
    for folder in own_groups("cpu", cgroup):
        try:
            lines = (folder / "cpu.stat").read_text().splitlines()
            counts = {name: int(count) for name, count in (line.split() for line in lines)}
        except (OSError, ValueError):
            continue
        if "nr_throttled" not in counts:  # a group of version 2 whose controller is off, and which has no quota
            continue
        found = True
        times += counts["nr_throttled"]
        seconds += counts.get("throttled_usec", 0) / 1e6 + counts.get("throttled_time", 0) / 1e9  # versions 2 and 1
    return Throttling(times=times, seconds=seconds) if found else None
