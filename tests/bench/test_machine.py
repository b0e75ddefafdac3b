import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from polyexport.bench.machine import Machine, MachineState, MachineWatch

QUIET = MachineState(governor="performance", turbo="on", temperature_c=50.0, load_1min=0.0)


def machine(**values: object) -> Machine:
    quiet: dict[str, object] = {
        "before": QUIET,
        "after": QUIET,
        "seconds": 10.0,
        "steal": 0.0,
        "others": 0.0,
        "throttled_times": 0,
        "throttled": 0.0,
        "heat_throttled_times": 0,
    }
    return Machine(**(quiet | values))  # type: ignore[arg-type]


class System:
    """A folder that looks like ``proc`` and ``sys``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cgroup = root / "sys/fs/cgroup"
        self.write("proc/stat", self.stat())
        self.write(f"proc/{os.getpid()}/stat", self.process(100))

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def stat(self, *, user: int = 1000, idle: int = 9000, steal: int = 0) -> str:
        cores = "".join(
            f"cpu{number} {user} 0 0 {idle} 0 0 0 {steal} 0 0\n" for number in sorted(os.sched_getaffinity(0))
        )
        return f"cpu 1 2 3 4\n{cores}cpu99999 7 7 7 7 7 7 7 7 7 7\nintr 5\n"

    def process(self, ticks: int, parent: int = 1) -> str:
        return f"1 (a) b) S {parent} {'0 ' * 9}{ticks} 0 0 0 0"

    def watch(self, **values: bool) -> MachineWatch:
        return MachineWatch(root=self.root, cgroup=self.cgroup, **values)


@pytest.fixture
def system(tmp_path: Path) -> System:
    return System(tmp_path)


def test_a_quiet_machine_has_no_flags() -> None:
    assert machine().flags() == ()
    assert machine().taken == 0
    assert machine(steal=None, others=None, throttled=None, throttled_times=None).taken == 0


def test_what_can_explain_a_result_is_said() -> None:
    hot = MachineState(governor="powersave", turbo="off", temperature_c=97.2, load_1min=9.0)
    found = machine(
        before=hot, after=hot, steal=0.042, others=0.3, throttled_times=31, throttled=0.2, heat_throttled_times=4
    )
    assert found.flags() == (
        "steal 4.2 % of the run: the host gave that time to other guests",
        "throttled by the control group 31 times, 20.0 % of the run",
        "other programs used 30.0 % of the cores",
        "slowed for heat 4 times",
        "the processor was at 97 degrees Celsius at the end",
        "the frequency governor is powersave: the clock follows the load",
    )
    assert found.taken == pytest.approx(0.542)
    assert machine(after=hot).flags()[-1] == "the governor or turbo was changed during the run"
    assert machine(steal=1.0, others=1.0).taken == 0.95


def test_shares_of_the_run(system: System) -> None:
    cores = len(os.sched_getaffinity(0))
    watch = system.watch()
    # A thousand ticks a core: 300 busy, of which this process and its child had 100 a core, and 50 stolen.
    system.write("proc/stat", system.stat(user=1300, idle=9650, steal=50))
    system.write(f"proc/{os.getpid()}/stat", system.process(100 + 60 * cores))
    system.write("proc/99999/stat", system.process(40 * cores, parent=os.getpid()))
    system.write("proc/99998/stat", system.process(5000))
    found = watch.finish()
    assert found.steal == pytest.approx(0.05)
    assert found.others == pytest.approx(0.2)
    watch = system.watch(count_others=False)
    system.write("proc/stat", system.stat(user=5000))
    assert watch.finish().others is None


def test_a_run_of_a_moment_has_no_shares(system: System) -> None:
    watch = system.watch()
    system.write("proc/stat", system.stat(user=1005))
    found = watch.finish()
    assert (found.steal, found.others) == (None, None)


def test_settings_and_counters_of_the_processor(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    cpus = "sys/devices/system/cpu"
    system.write("proc/self/cgroup", "0::/inner\n")
    monkeypatch.setattr("polyexport.runtime.cgroup._MEMBERSHIP", system.root / "proc/self/cgroup")
    system.write("sys/fs/cgroup/inner/cpu.stat", "usage_usec 5\nnr_throttled 3\nthrottled_usec 1000\n")
    system.write("sys/fs/cgroup/cpu.stat", "usage_usec 5\n")
    for number, governor in enumerate(("powersave", "performance")):
        system.write(f"{cpus}/cpu{number}/cpufreq/scaling_governor", f"{governor}\n")
        system.write(f"{cpus}/cpu{number}/thermal_throttle/core_throttle_count", "5\n")
        system.write(f"{cpus}/cpu{number}/thermal_throttle/package_throttle_count", "2\n")
    system.write(f"{cpus}/intel_pstate/no_turbo", "0\n")
    system.write("sys/class/thermal/thermal_zone0/temp", "45000\n")
    system.write("sys/class/thermal/thermal_zone1/temp", "-274000\n")
    system.write("sys/class/hwmon/hwmon0/name", "k10temp\n")
    system.write("sys/class/hwmon/hwmon0/temp1_input", "61500\n")
    system.write("sys/class/hwmon/hwmon1/name", "nvme\n")
    system.write("sys/class/hwmon/hwmon1/temp1_input", "99000\n")
    watch = system.watch()
    system.write("sys/fs/cgroup/inner/cpu.stat", "nr_throttled 34\nthrottled_usec 900000000\n")
    system.write(f"{cpus}/cpu1/thermal_throttle/core_throttle_count", "9\n")
    system.write(f"{cpus}/cpu1/thermal_throttle/package_throttle_count", "3\n")
    found = watch.finish()
    assert found.before.governor == "performance, powersave"
    assert (found.before.turbo, found.before.temperature_c) == ("on", 61.5)
    assert (found.throttled_times, found.throttled, found.heat_throttled_times) == (31, 1.0, 5)
    assert found.flags()[0] == "throttled by the control group 31 times, 100.0 % of the run"


def test_boost_of_other_processors(system: System) -> None:
    system.write("sys/devices/system/cpu/cpufreq/boost", "0\n")
    assert system.watch().finish().after.turbo == "off"


@pytest.mark.parametrize("text", ["", "\0\0", "cpu0 x y", "cpu0", "9" * 5000, "cpu0 " + "9" * 300, "\udcff"])
def test_nothing_that_stands_in_these_files_is_an_error(system: System, text: str) -> None:
    names = ["proc/stat", f"proc/{os.getpid()}/stat", "proc/77/stat", "sys/fs/cgroup/cpu.stat"]
    names += [f"sys/devices/system/cpu/cpu0/{name}" for name in ("cpufreq/scaling_governor",)]
    names += ["sys/devices/system/cpu/cpufreq/boost", "sys/class/thermal/thermal_zone0/temp"]
    names += ["sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"]
    for name in names:
        path = system.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
    system.watch().finish().flags()


def test_a_machine_without_such_files(tmp_path: Path) -> None:
    (tmp_path / "sys/class/thermal/thermal_zone0/temp").mkdir(parents=True)  # a folder in place of a file
    found = MachineWatch(root=tmp_path, cgroup=tmp_path).finish()
    assert (found.steal, found.others, found.heat_throttled_times) == (None, None, None)
    assert (found.before.governor, found.before.turbo, found.before.temperature_c) == ("", "", None)
    assert found.flags() == ()


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="counts of Linux")
def test_another_program_is_seen_and_a_child_is_not_taken_for_one() -> None:
    code = "import time\nends = time.monotonic() + 1.5\nwhile time.monotonic() < ends: pass"
    before = os.times().children_user
    watch = MachineWatch()
    subprocess.run([sys.executable, "-c", code], check=True)
    mine = watch.finish()
    child_s = os.times().children_user - before
    # Through a shell that ends at once: the program is a child of another process.
    watch = MachineWatch()
    subprocess.run(["/bin/sh", "-c", f'"{sys.executable}" -c "{code}" &'], check=True)
    time.sleep(1.7)
    other = watch.finish()
    assert mine.others is not None
    assert other.others is not None
    assert other.others > 0.1
    # Others may use this machine, too; the time of the child is not among theirs.
    assert mine.others <= 1 - child_s / mine.seconds / len(os.sched_getaffinity(0)) + 0.1
