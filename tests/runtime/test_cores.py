import os
from pathlib import Path

import pytest

from polyexport.runtime import cgroup as cgroup_module
from polyexport.runtime.cores import granted_cores


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    membership = tmp_path / "self_cgroup"
    membership.write_text("0::/app/worker\n")
    monkeypatch.setattr(cgroup_module, "_MEMBERSHIP", membership)
    (tmp_path / "app" / "worker").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("own", "above", "expected"),
    [
        ("max 100000", "max 100000", 8),
        ("200000 100000", "max 100000", 2),
        ("max 100000", "300000 100000", 3),
        ("400000 100000", "150000 100000", 2),
        ("50000 100000", "max 100000", 1),
        ("nonsense", "max 100000", 8),
        ("900000 100000", "max 100000", 8),
    ],
)
def test_the_tightest_quota_counts(cgroup: Path, own: str, above: str, expected: int) -> None:
    (cgroup / "app" / "worker" / "cpu.max").write_text(own)
    (cgroup / "app" / "cpu.max").write_text(above)
    assert granted_cores(cgroup) == expected


def test_version_1_quota(cgroup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cgroup / "self_cgroup").write_text("5:memory:/app\n4:cpu,cpuacct:/app\n")
    folder = cgroup / "cpu,cpuacct" / "app"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text("300000\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    assert granted_cores(cgroup) == 3


def test_without_cgroups_affinity_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup_module, "_MEMBERSHIP", tmp_path / "missing")
    assert granted_cores(tmp_path) == 8
