import os
from pathlib import Path

import pytest

from polyexport.pipeline.watching.arrivals import GRACE_S, SETTLE_S, Arrivals

GONE: list[str] = []


@pytest.fixture
def arrivals(tmp_path: Path) -> Arrivals:
    GONE.clear()
    return Arrivals(lambda relative: str(tmp_path / relative))


def take(arrivals: Arrivals, now: float, limit: int = 100) -> list[str]:
    taken = arrivals.take(limit, now, GONE.append)
    for arrival in taken:
        arrivals.finish(arrival)
    return [arrival.relative for arrival in taken]


def test_a_file_is_taken_once_when_nothing_has_changed_for_a_while(arrivals: Arrivals, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("a")
    assert arrivals.notice("a.png", 0.0)
    assert take(arrivals, SETTLE_S - 0.01) == []
    assert arrivals.next_due == SETTLE_S
    assert take(arrivals, SETTLE_S) == ["a.png"]
    assert arrivals.notice("a.png", 10.0)
    assert (take(arrivals, 20.0), arrivals.waiting, arrivals.next_due) == ([], 0, float("inf"))


def test_a_file_that_is_written_is_waited_for(arrivals: Arrivals, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("a")
    arrivals.notice("a.png", 0.0)
    (tmp_path / "a.png").write_text("ab")
    assert take(arrivals, 1.0) == []  # seen in another state: the time begins anew
    assert take(arrivals, 1.0 + SETTLE_S / 2) == []
    assert take(arrivals, 1.0 + SETTLE_S) == ["a.png"]


@pytest.mark.parametrize("change", ["content", "times", "replaced", "shrunk"])
def test_a_file_that_changes_is_taken_again(arrivals: Arrivals, tmp_path: Path, change: str) -> None:
    path = tmp_path / "a.png"
    path.write_text("abc")
    os.utime(path, ns=(10**18, 10**18))
    arrivals.notice("a.png", 0.0)
    take(arrivals, 1.0)
    if change == "content":
        path.write_text("xyz")
        os.utime(path, ns=(10**18, 10**18))  # only the time of the change to the inode tells
    elif change == "times":
        os.utime(path)
    elif change == "replaced":
        (tmp_path / "new").write_text("abc")
        os.utime(tmp_path / "new", ns=(10**18, 10**18))
        (tmp_path / "new").replace(path)
    else:
        os.truncate(path, 1)
    arrivals.notice("a.png", 2.0)
    assert take(arrivals, 3.0) == ["a.png"]


def test_a_file_that_is_removed_is_forgotten(arrivals: Arrivals, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_text(name)
        arrivals.notice(name, 0.0)
    (tmp_path / "a.png").unlink()
    assert take(arrivals, 1.0) == ["b.png"]
    assert GONE == ["a.png"]
    (tmp_path / "b.png").unlink()
    assert arrivals.missing_from(["c.png"]) == ["b.png"]
    assert not arrivals.notice("b.png", 2.0)
    assert arrivals.missing_from([]) == []


def test_a_failure_is_final_only_after_the_grace(arrivals: Arrivals, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("half")
    arrivals.notice("a.png", 0.0)
    [first] = arrivals.take(9, SETTLE_S, GONE.append)
    assert not first.final
    arrivals.hold(first)
    assert arrivals.take(9, GRACE_S - 0.01, GONE.append) == []
    [second] = arrivals.take(9, GRACE_S, GONE.append)
    assert second.final
    assert second.state == first.state
    assert (arrivals.is_final(first), arrivals.is_final(second)) == (False, True)
    (tmp_path / "a.png").unlink()
    assert not arrivals.is_final(second)


def test_a_file_that_was_held_and_grows_is_taken_when_it_settles(arrivals: Arrivals, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("half")
    arrivals.notice("a.png", 0.0)
    [first] = arrivals.take(9, SETTLE_S, GONE.append)
    arrivals.hold(first)
    (tmp_path / "a.png").write_text("whole picture")
    arrivals.notice("a.png", 1.0)
    assert arrivals.take(9, GRACE_S, GONE.append) == []
    [second] = arrivals.take(9, GRACE_S + SETTLE_S, GONE.append)
    assert not second.final


def test_links_and_folders_are_no_files(arrivals: Arrivals, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("a")
    (tmp_path / "link.png").symlink_to("a.png")
    (tmp_path / "folder.png").mkdir()
    assert not arrivals.notice("link.png", 0.0)
    assert not arrivals.notice("folder.png", 0.0)


def test_the_longest_complete_come_first_and_a_limit_holds(arrivals: Arrivals, tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(9)]
    for now, name in enumerate(reversed(names)):
        (tmp_path / name).write_text(name)
        arrivals.notice(name, now / 100)
    assert take(arrivals, 5.0, limit=4) == names[:4:-1]
    assert take(arrivals, 5.0) == names[4::-1]
