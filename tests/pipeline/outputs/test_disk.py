import contextlib
import errno
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyexport.errors import OutputError
from polyexport.pipeline.outputs.disk import OutputFolder, OutputView, UnpublishedOutput, read_journal
from polyexport.pipeline.outputs.journal import Record
from polyexport.pipeline.outputs.staging import STATE, DiskStaging

SHA = "a" * 64


def pending(folder: OutputFolder, output: str, data: bytes = b"picture", *, replace: bool = False) -> UnpublishedOutput:
    return UnpublishedOutput(output, Record(SHA, SHA, SHA), folder.stage(data), replace)


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_an_output_gets_its_name_and_nothing_else_stays(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "new" / "out") as folder:
        assert folder.publish([pending(folder, "red/deep/a.png"), pending(folder, "red/b.png")]) == ["", ""]
        assert (tmp_path / "new/out/.polyexport/lock").exists()
    assert everything(tmp_path / "new" / "out") == {
        STATE, f"{STATE}/journal.jsonl", "red", "red/b.png", "red/deep", "red/deep/a.png"
    }  # fmt: skip
    assert (tmp_path / "new/out/red/b.png").read_bytes() == b"picture"


def test_a_run_that_made_nothing_leaves_nothing(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "out"):
        pass
    assert not (tmp_path / "out").exists()
    (tmp_path / "mine").mkdir()
    with OutputFolder(tmp_path / "mine"):
        pass
    assert everything(tmp_path / "mine") == set()


def test_a_file_is_replaced_only_if_it_may_be(tmp_path: Path) -> None:
    (tmp_path / "red").mkdir()
    (tmp_path / "red" / "a.png").write_bytes(b"precious")
    with OutputFolder(tmp_path) as folder:
        (reason,) = folder.publish([pending(folder, "red/a.png")])
        assert "a file has appeared there" in reason
        assert (tmp_path / "red/a.png").read_bytes() == b"precious"
        assert folder.publish([pending(folder, "red/a.png", replace=True)]) == [""]
    assert (tmp_path / "red/a.png").read_bytes() == b"picture"


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def link(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)
    with OutputFolder(tmp_path) as folder:
        assert folder.publish([pending(folder, "a.png", b"first")]) == [""]
        (reason,) = folder.publish([pending(folder, "a.png", b"second")])
        assert "has appeared" in reason
    assert (tmp_path / "a.png").read_bytes() == b"first"


def test_a_link_at_the_name_is_replaced_and_never_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").symlink_to(victim)
    with OutputFolder(tmp_path / "out") as folder:
        assert folder.hash_outputs(["a.png"]) == ["-"]
        assert "appeared" in folder.publish([pending(folder, "a.png")])[0]
        assert folder.publish([pending(folder, "a.png", replace=True)]) == [""]
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "out/a.png").is_symlink()


@pytest.mark.parametrize("place", ["red", "red/deep", ".polyexport"])
def test_a_link_in_the_path_is_not_followed(tmp_path: Path, place: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "out" / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "out" / place).symlink_to(elsewhere)
    if place == ".polyexport":
        with pytest.raises(OutputError):
            OutputFolder(tmp_path / "out")
    else:
        with OutputFolder(tmp_path / "out") as folder:
            reasons = folder.publish([pending(folder, "red/deep/a.png"), pending(folder, "blue/a.png")])
        assert "nothing is written through links" in reasons[0]
        assert reasons[1] == ""
    assert everything(elsewhere) == set()


def test_a_name_cannot_climb_out(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "out") as folder:
        (reason,) = folder.publish([pending(folder, "red/../../a.png")])
    assert "not allowed" in reason
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize("output", ["red/" + "x" * 300 + ".png", "x" * 300 + "/a.png", "folder"])
def test_one_impossible_name_fails_alone(tmp_path: Path, output: str) -> None:
    (tmp_path / "folder").mkdir()
    with OutputFolder(tmp_path) as folder:
        bad, good = folder.publish([pending(folder, output, replace=True), pending(folder, "red/a.png")])
    assert bad
    assert not good
    assert (tmp_path / "red/a.png").exists()
    assert everything(tmp_path / STATE) == {"journal.jsonl"}


def test_a_second_run_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    with OutputFolder(tmp_path):
        with pytest.raises(OutputError, match=rf"another run writes to .*process {os.getpid()} on"):
            OutputFolder(tmp_path)
        (tmp_path / STATE / "lock").write_text("[]")
        with pytest.raises(OutputError, match="an unknown process"):
            OutputFolder(tmp_path)
    OutputFolder(tmp_path).close()


def test_a_lock_and_temporary_files_of_a_dead_process_are_cleaned(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from polyexport.pipeline.outputs.disk import OutputFolder\n"
        f"folder = OutputFolder(Path({str(tmp_path / 'out')!r})); folder.stage(b'x'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    left = everything(tmp_path / "out" / STATE)
    assert len([name for name in left if name.startswith("tmp-")]) == 1
    assert "lock" in left
    OutputFolder(tmp_path / "out").close()
    assert everything(tmp_path / "out") == set()


def test_many_folders_do_not_keep_many_descriptors(tmp_path: Path) -> None:
    with OutputFolder(tmp_path) as folder:
        before = len(os.listdir("/proc/self/fd"))
        for number in range(100):
            assert folder.publish([pending(folder, f"{number}/a.png")]) == [""]
            assert folder.hash_outputs([f"{number}/a.png"]) != [None]
        assert len(os.listdir("/proc/self/fd")) <= before + 32
    assert len(list(tmp_path.rglob("a.png"))) == 100


def test_few_descriptors_are_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (32, 32))
    with OutputFolder(tmp_path) as folder:
        before = len(os.listdir("/proc/self/fd"))
        group = [pending(folder, f"{number}/a.png") for number in range(40)]
        assert len(os.listdir("/proc/self/fd")) <= before + 32 // 4
        assert folder.publish(group) == [""] * 40
        assert len(os.listdir("/proc/self/fd")) <= before + 32 // 8
    assert len(list(tmp_path.rglob("a.png"))) == 40


def test_a_lack_of_descriptors_has_a_remedy_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with OutputFolder(tmp_path) as folder:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            with pytest.raises(OutputError, match="ulimit -n"):
                folder.stage(b"picture")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_journal_knows_an_output_before_the_output_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OutputFolder(tmp_path) as folder:
        real = os.link

        def link(source: str, name: str, **options: int) -> None:
            lines = (tmp_path / STATE / "journal.jsonl").read_text().splitlines()
            assert json.loads(lines[-1])["output"] == "a.png"
            real(source, name, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(os, "link", link)
        assert folder.publish([pending(folder, "a.png")]) == [""]
    view = OutputView(tmp_path)
    assert view.hash_outputs(["a.png"]) != [None]
    assert view.hash_outputs(["missing/b.png"]) == [None]
    view.close()
    journal = read_journal(tmp_path)
    assert journal is not None
    assert journal.record("a.png") == Record(SHA, SHA, SHA)
    journal.close()
    assert read_journal(tmp_path / "none") is None


def test_a_folder_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="file"):
        OutputFolder(tmp_path / "file")
    with pytest.raises(OutputError, match="cannot make"):
        OutputFolder(tmp_path / "file" / "out")


@pytest.mark.parametrize("name", ["journal.jsonl", "lock"])
@pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "link to a device", "link to a file"])
def test_what_is_not_a_file_in_place_of_a_file_of_ours_never_blocks(tmp_path: Path, name: str, kind: str) -> None:
    put_in_place(tmp_path / "out" / STATE / name, kind)
    with pytest.raises(OutputError, match=f"{name} is not a regular file; remove it"), deadline():
        OutputFolder(tmp_path / "out")
    if name == "journal.jsonl":
        with pytest.raises(OutputError, match=f"{name} is not a regular file; remove it"), deadline():
            read_journal(tmp_path / "out")
    else:
        assert read_journal(tmp_path / "out") is None


@pytest.mark.parametrize("kind", ["pipe", "socket", "link to a device", "link to a file"])
def test_what_is_not_a_file_at_the_name_of_an_output_never_blocks(tmp_path: Path, kind: str) -> None:
    put_in_place(tmp_path / "red" / "a.png", kind)
    with OutputFolder(tmp_path) as folder, deadline():
        assert folder.hash_outputs(["red/a.png"]) == ["-"]
        assert "appeared" in folder.publish([pending(folder, "red/a.png")])[0]


@pytest.mark.parametrize("kind", ["pipe", "socket", "link to a device"])
def test_what_is_not_a_file_in_place_of_a_folder_never_blocks(tmp_path: Path, kind: str) -> None:
    put_in_place(tmp_path / "out", kind)
    put_in_place(tmp_path / "other" / STATE, kind)
    for root in (tmp_path / "out", tmp_path / "other"):
        with pytest.raises(OutputError, match="cannot write|cannot make"), deadline():
            OutputFolder(root)
    with pytest.raises(OutputError, match="cannot"), deadline():
        read_journal(tmp_path / "other")


def test_a_staged_file_that_was_replaced_by_a_pipe_never_blocks(tmp_path: Path) -> None:
    with OutputFolder(tmp_path) as folder:
        staged = folder.stage(b"picture")
        (tmp_path / STATE / staged).unlink()
        os.mkfifo(tmp_path / STATE / staged)
        staging = DiskStaging.of(tmp_path)
        with pytest.raises(OSError, match="not a regular file"), deadline():
            staging.read(staged)
        staging.close()


def put_in_place(path: Path, kind: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as bound, contextlib.chdir(path.parent):
                bound.bind(path.name)
        case "folder":
            path.mkdir()
        case "link to a device":
            path.symlink_to("/dev/zero")
        case _:
            path.symlink_to(__file__)


@contextlib.contextmanager
def deadline() -> Iterator[None]:
    """Interrupt whatever waits for something that never comes."""

    def interrupt(*_: object) -> None:
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(20)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
