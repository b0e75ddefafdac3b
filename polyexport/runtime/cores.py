"""The number of processor cores that this process may use."""

import math
import os
from pathlib import Path

from polyexport.runtime.cgroup import CGROUP, own_groups

__all__ = ["granted_cores"]


def granted_cores(cgroup: Path = CGROUP) -> int:
    """Number of whole cores granted by affinity and by the container's quota (cgroup v2 or v1), at least 1.

    A container that is limited to two cores of a large host still counts every core in ``os.cpu_count()``; the kernel
    suspends threads that exceed the quota.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroup)
    return max(1, min(cores, math.ceil(quota))) if quota is not None else max(1, cores)


def _quota(cgroup: Path) -> float | None:
    """Number of cores of the smallest quota from this process's cgroup up to the root; None without one."""
    limits = (_limit(folder) for folder in own_groups("cpu", cgroup))
    return min((limit for limit in limits if limit is not None), default=None)


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
