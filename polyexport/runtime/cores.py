"""The number of processor cores that this process may use."""

import math
import os
from pathlib import Path

__all__ = ["granted_cores"]

_MEMBERSHIP = Path("/proc/self/cgroup")


def granted_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Number of whole cores granted by affinity and by the container's quota (cgroup v2 or v1), at least 1.

    A container that is limited to two cores of a large host still counts every core in ``os.cpu_count()``; the kernel
    suspends threads that exceed the quota.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroup)
    return max(1, min(cores, math.ceil(quota))) if quota is not None else max(1, cores)


def _quota(cgroup: Path) -> float | None:
    """Number of cores of the smallest quota from this process's cgroup up to the root; None without one."""
    try:
        lines = _MEMBERSHIP.read_text().splitlines()
    except OSError:
        return None
    quotas: list[float] = []
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = cgroup / controllers if controllers else cgroup
        folder = root / name.lstrip("/")
        for level in (folder, *folder.parents):
            limit = _limit(level)
            if limit is not None:
                quotas.append(limit)
            if level == root:
                break
    return min(quotas, default=None)


def _limit(folder: Path) -> float | None:
    """Number of cores that one cgroup's quota allows; None without a quota."""
    try:
        if (folder / "cpu.max").exists():  # version 2
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        return int(quota) / int(period) if quota not in ("max", "-1") and int(period) > 0 else None
    except (OSError, ValueError):
        return None
