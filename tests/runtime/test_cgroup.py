from pathlib import Path

import pytest

from polyexport.runtime.cgroup import Throttling, own_groups, throttling


@pytest.fixture
def member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """File that names this process's groups."""
    file = tmp_path / "membership"
    monkeypatch.setattr("polyexport.runtime.cgroup._MEMBERSHIP", file)
    return file


def stat(folder: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.stat").write_text(text)


def test_suspensions_of_every_group_up_to_the_root(member: Path, tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    member.write_text("0::/outer/inner\n")
    stat(root / "outer/inner", "usage_usec 9\nnr_periods 50\nnr_throttled 3\nthrottled_usec 250000\n")
    stat(root / "outer", "usage_usec 9\nnr_throttled 4\nthrottled_usec 500000\n")
    stat(root, "usage_usec 9\n")
    stat(root / "other", "nr_throttled 99\nthrottled_usec 99\n")
    assert list(own_groups("cpu", root)) == [root / "outer/inner", root / "outer", root]
    assert throttling(root) == Throttling(times=7, seconds=0.75)


def test_suspensions_in_version_1(member: Path, tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    member.write_text("5:cpu,cpuacct:/box\n4:memory:/box\n")
    stat(root / "cpu,cpuacct/box", "nr_periods 5\nnr_throttled 2\nthrottled_time 1500000000\n")
    assert throttling(root) == Throttling(times=2, seconds=1.5)


@pytest.mark.parametrize("text", ["", "usage_usec 9\n", "nr_throttled\n", "nr_throttled x\n", "a b c\n"])
def test_groups_that_count_nothing(member: Path, tmp_path: Path, text: str) -> None:
    member.write_text("0::/\n")
    stat(tmp_path / "cgroup", text)
    assert throttling(tmp_path / "cgroup") is None
    assert throttling(tmp_path / "nowhere") is None


def test_a_system_without_groups(member: Path, tmp_path: Path) -> None:
    assert throttling(tmp_path) is None
