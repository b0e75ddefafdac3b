"""Conditions of the machine before and after a run, and what happened between that can explain a result.

Everything here is read from files of Linux. A file that is missing, cannot be read or holds something else is an
unknown value, never an error.
"""

import contextlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from polyexport.runtime.cgroup import CGROUP, throttling

__all__ = ["Machine", "MachineState", "MachineWatch"]

_STEAL = 0.01  # shares of the run from which on a line is shown
_OTHERS = 0.05
_THROTTLED = 0.001
_HOT_C = 90.0
_MOST_DISTURBED = 0.95
_FEWEST_TICKS = 50  # half a second of a core; the counters of a shorter run say nothing

_CPUS = Path("sys/devices/system/cpu")
_SENSORS = ("coretemp", "cpu_thermal", "k10temp", "zenpower")
"""Names under which Linux lists the temperature of processors in ``/sys/class/hwmon``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MachineState:
    """Settings and temperature of the processor at one moment."""

    governor: str
    """Governors of the clock, separated by commas; empty where the system does not tell."""

    turbo: Literal["on", "off", ""]
    """Whether clocks above the nominal one are allowed; empty where the system does not tell."""

    temperature_c: float | None
    """Temperature of the hottest sensor, degrees Celsius."""

    load_1min: float
    """Mean number of running or waiting processes over the last minute; 0 where the system does not tell."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """State of the machine before and after a run, and shares of the run that were taken from it."""

    before: MachineState
    after: MachineState
    seconds: float
    """Wall time of the run."""

    steal: float | None
    """Fraction of the time of this process's cores that the host of a virtual machine gave to others."""

    others: float | None
    """Fraction of the time of this process's cores that other programs used; None where it is not counted."""

    throttled_times: int | None
    """Number of periods in which the control group's quota suspended processes."""

    throttled: float | None
    """Fraction of the run for which they were suspended, 1 at most."""

    heat_throttled_times: int | None
    """Number of times that a core or the package slowed down for heat."""

    def flags(self) -> tuple[str, ...]:
        """Conditions that can explain a result, one line each; none on a quiet machine."""
        found = []
        if (self.steal or 0) >= _STEAL:
            found.append(f"steal {self.steal:.1%} of the run: the host gave that time to other guests")
        if self.throttled_times:
            found.append(
                f"throttled by the control group {self.throttled_times} times, {self.throttled or 0:.1%} of the run"
            )
        if (self.others or 0) >= _OTHERS:
            found.append(f"other programs used {self.others:.1%} of the cores")
        if self.heat_throttled_times:
            found.append(f"slowed for heat {self.heat_throttled_times} times")
        if (self.after.temperature_c or 0) >= _HOT_C:
            found.append(f"the processor was at {self.after.temperature_c:.0f} degrees Celsius at the end")
        changed = (self.before.governor, self.before.turbo) != (self.after.governor, self.after.turbo)
        if changed:
            found.append("the governor or turbo was changed during the run")
        elif self.after.governor not in ("", "performance"):
            found.append(f"the frequency governor is {self.after.governor}: the clock follows the load")
        return tuple(line.replace("%", " %") for line in found)

    @property
    def taken(self) -> float:
        """Fraction of the run that was taken from this process, from 0 to 0.95; small shares count as none."""
        shares = ((self.steal, _STEAL), (self.others, _OTHERS), (self.throttled, _THROTTLED))
        return min(_MOST_DISTURBED, sum(share for share, least in shares if share is not None and share >= least))


class MachineWatch:
    """Counters at the beginning of a run, with which ``finish`` compares those at its end."""

    def __init__(self, *, count_others: bool = True, root: Path = Path("/"), cgroup: Path = CGROUP) -> None:
        """Read the counters.

        Args:
            count_others: whether programs beside this process and those it starts are disturbances. A service that is
                measured is one of them, and is none.
            root: folder of ``proc`` and ``sys``.
            cgroup: folder in which the control groups are mounted.
        """
        self._count_others, self._root, self._cgroup = count_others, root, cgroup
        self._before = _state(root)
        self._counters = _Counters(root, cgroup)

    def finish(self) -> Machine:
        """Read the counters again, and return what was between."""
        first, last = self._counters, _Counters(self._root, self._cgroup)
        seconds = max(1e-9, last.at_s - first.at_s)
        steal = others = None
        total = last.cores.total - first.cores.total if first.cores is not None and last.cores is not None else 0
        if first.cores is not None and last.cores is not None and total >= _FEWEST_TICKS:
            steal = _fraction(last.cores.steal - first.cores.steal, total)
            if self._count_others and first.own is not None and last.own is not None:
                busy = last.cores.busy - first.cores.busy
                others = _fraction(busy - (last.own - first.own), total)
        times = throttled = None
        if first.throttling is not None and last.throttling is not None:
            times = max(0, last.throttling.times - first.throttling.times)
            throttled = _fraction(last.throttling.seconds - first.throttling.seconds, seconds)
        heat = None
        if first.heat is not None and last.heat is not None:
            heat = max(0, last.heat - first.heat)
        return Machine(
            before=self._before,
            after=_state(self._root),
            seconds=seconds,
            steal=steal,
            others=others,
            throttled_times=times,
            throttled=throttled,
            heat_throttled_times=heat,
        )


@dataclass(frozen=True, slots=True)
class _Cores:
    """Clock ticks of this process's cores since the system's start."""

    total: int
    busy: int
    steal: int


class _Counters:
    """Counters that only grow, at one moment."""

    def __init__(self, root: Path, cgroup: Path) -> None:
        self.at_s = time.monotonic()
        self.cores = _cores(root)
        self.own = _own_ticks(root)
        self.throttling = throttling(cgroup)
        self.heat = _heat(root)


def _fraction(part: float, whole: float) -> float:
    return min(1.0, max(0.0, part / whole))


def _text(path: Path) -> str:
    try:
        return path.read_text()[:65536]
    except (OSError, ValueError):  # ValueError: bytes that are not UTF-8
        return ""


def _number(path: Path) -> int | None:
    try:
        return int(_text(path))
    except ValueError:
        return None


def _files(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


def _state(root: Path) -> MachineState:
    governors = {_text(file).strip() for file in _files(root / _CPUS, "cpu[0-9]*/cpufreq/scaling_governor")}
    named = sorted(governor for governor in governors if re.fullmatch(r"\w{1,32}", governor))
    no_turbo, boost = _number(root / _CPUS / "intel_pstate/no_turbo"), _number(root / _CPUS / "cpufreq/boost")
    allowed = None if no_turbo is boost is None else no_turbo == 0 if no_turbo is not None else boost == 1
    return MachineState(
        governor=", ".join(named),
        turbo="" if allowed is None else "on" if allowed else "off",
        temperature_c=max(_temperatures(root), default=None),
        load_1min=os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
    )


def _temperatures(root: Path) -> Iterator[float]:
    zones = _files(root / "sys/class/thermal", "thermal_zone*/temp")
    for sensor in _files(root / "sys/class/hwmon", "hwmon*"):
        if _text(sensor / "name").strip() in _SENSORS:
            zones += _files(sensor, "temp*_input")
    for zone in zones:
        millidegrees = _number(zone)
        if (
            millidegrees is not None and -50_000 < millidegrees < 150_000
        ):  # sensors that are not connected tell nonsense
            yield millidegrees / 1e3


def _heat(root: Path) -> int | None:
    counts = [_number(file) for file in _files(root / _CPUS, "cpu[0-9]*/thermal_throttle/core_throttle_count")]
    known = [count for count in counts if count is not None]
    packages = [_number(file) for file in _files(root / _CPUS, "cpu[0-9]*/thermal_throttle/package_throttle_count")]
    known += [max((count for count in packages if count is not None), default=0)] if packages else []
    return sum(known) if known else None


def _cores(root: Path) -> _Cores | None:
    """Ticks of the cores that this process may use; None where the system does not tell."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    total = busy = steal = 0
    for line in _text(root / "proc/stat").splitlines():
        name, *counts = line.split()
        number = re.fullmatch(r"cpu(\d+)", name)
        if number is None or (allowed is not None and int(number[1]) not in allowed):
            continue
        with contextlib.suppress(ValueError):
            user, nice, system, idle, wait, irq, soft_irq, stolen = map(int, counts[:8])  # proc_stat(5)
            busy += user + nice + system + irq + soft_irq
            steal += stolen
            total += user + nice + system + idle + wait + irq + soft_irq + stolen
    return _Cores(total, busy, steal) if total else None


def _own_ticks(root: Path) -> int | None:
    """Ticks that this process and all that it has started used; None where the system does not tell."""
    parents, ticks = {}, {}
    for file in _files(root / "proc", "[0-9]*/stat"):
        fields = _text(file).rpartition(")")[2].split()  # the name before it may hold anything
        with contextlib.suppress(ValueError, IndexError):
            number = int(file.parent.name)
            parents[number] = int(fields[1])
            ticks[number] = sum(map(int, fields[11:15]))  # its own, and those of children that have ended
    own = {os.getpid()}
    while more := {number for number, parent in parents.items() if parent in own} - own:
        own |= more
    return sum(ticks.get(number, 0) for number in own) if os.getpid() in ticks else None
