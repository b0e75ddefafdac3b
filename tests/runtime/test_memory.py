import resource
from pathlib import Path

import pytest

from polyexport.runtime import cgroup as cgroup_module
from polyexport.runtime import memory
from polyexport.runtime.memory import granted_memory

GIB = 1 << 30


@pytest.fixture(autouse=True)
def sixteen_gib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_available", lambda: 16 * GIB)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    membership = tmp_path / "self_cgroup"
    membership.write_text("0::/app/worker\n")
    monkeypatch.setattr(cgroup_module, "_MEMBERSHIP", membership)
    (tmp_path / "app" / "worker").mkdir(parents=True)
    return tmp_path


def limit(folder: Path, most: str, used: int) -> None:
    (folder / "memory.max").write_text(most)
    (folder / "memory.current").write_text(str(used))


@pytest.mark.parametrize(
    ("own", "above", "used", "expected"),
    [
        ("max", "max", 0, 16 * GIB),
        (str(2 * GIB), "max", GIB // 2, 3 * GIB // 2),
        (str(2 * GIB), "max", 2 * GIB, GIB),  # most of what is used is cache
        ("max", str(3 * GIB), 0, 3 * GIB),
        (str(8 * GIB), str(3 * GIB), 0, 3 * GIB),
        (str(64 * GIB), "max", 0, 16 * GIB),
        ("nonsense", "max", 0, 16 * GIB),
    ],
)
def test_the_tightest_limit_counts(cgroup: Path, own: str, above: str, used: int, expected: int) -> None:
    limit(cgroup / "app" / "worker", own, used)
    limit(cgroup / "app", above, 0)
    assert granted_memory(cgroup) == expected


def test_version_1_of_control_groups(cgroup: Path) -> None:
    (cgroup / "self_cgroup").write_text("5:cpu:/other\n4:memory:/app\n")
    folder = cgroup / "memory" / "app"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text(str(GIB))
    (folder / "memory.usage_in_bytes").write_text(str(GIB // 4))
    (folder.parent / "memory.limit_in_bytes").write_text("9223372036854771712")
    (folder.parent / "memory.usage_in_bytes").write_text("5")
    assert granted_memory(cgroup) == 3 * GIB // 4


def test_the_limit_of_the_process_counts(cgroup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (GIB, resource.RLIM_INFINITY))
    assert granted_memory(cgroup) == GIB


def test_a_system_without_control_groups(cgroup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup_module, "_MEMBERSHIP", cgroup / "missing")
    assert granted_memory(cgroup) == 16 * GIB


def test_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert 1 << 28 < granted_memory() < 1 << 44
