"""An output folder, or a part of it, that is moved, removed or replaced while a run writes into it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from color_settings import setting

from polyexport.errors import OutputError
from polyexport.pipeline.outputs.disk import OutputFolder, UnpublishedOutput
from polyexport.pipeline.outputs.journal import Record
from polyexport.pipeline.outputs.staging import STATE
from polyexport.pipeline.plan import make_plan
from polyexport.pipeline.results import ItemResult, RunReport

Colorize = Callable[..., tuple[RunReport, dict[str, ItemResult]]]
Change = Callable[[Path], object]

RED = (setting("red"),)
SHA = "a" * 64


def publish(folder: OutputFolder, *outputs: str) -> list[str]:
    return folder.publish([UnpublishedOutput(one, Record(SHA, SHA, SHA), folder.stage(b"picture")) for one in outputs])


def rename(out: Path) -> None:
    out.rename(out.parent / "moved")


def rename_parent(out: Path) -> None:
    out.parent.rename(out.parent.with_name("moved"))


def replace_by_folder(out: Path) -> None:
    rename(out)
    out.mkdir()


def replace_by_link(out: Path) -> None:
    rename(out)
    (out.parent / "other").mkdir()
    out.symlink_to(out.parent / "other")


def replace_by_file(out: Path) -> None:
    rename(out)
    out.write_bytes(b"")


def replace_parent(out: Path) -> None:
    rename_parent(out)
    out.mkdir(parents=True)


MOVES = [rename, rename_parent, replace_by_folder, replace_by_link, replace_by_file, replace_parent]


@pytest.mark.parametrize("change", MOVES, ids=lambda change: change.__name__)
def test_a_folder_that_is_moved_ends_the_run_and_the_message_has_its_new_path(tmp_path: Path, change: Change) -> None:
    out = tmp_path / "parent" / "out"
    with OutputFolder(out) as folder:
        assert publish(folder, "red/a.png") == [""]
        change(out)
        with pytest.raises(OutputError, match="no longer leads to the output folder") as caught:
            publish(folder, "red/b.png")
    moved = next(path for path in tmp_path.rglob("moved"))
    there = moved / "out" if (moved / "out").exists() else moved
    assert f"the outputs were written to {there}" in caught.value.message
    assert f"-o {there}" in caught.value.remedy
    assert sorted(path.name for path in there.glob("red/*")) == ["a.png", "b.png"]
    assert sorted(path.name for path in (there / STATE).iterdir()) == ["journal.jsonl"]
    with OutputFolder(there) as folder:  # nothing is lost, and a run with the new path carries on
        assert folder.journal.record("red/a.png") == folder.journal.record("red/b.png") == Record(SHA, SHA, SHA)


@pytest.mark.parametrize("change", MOVES, ids=lambda change: change.__name__)
def test_a_move_after_the_last_output_is_seen_too(tmp_path: Path, change: Change) -> None:
    out = tmp_path / "parent" / "out"
    with OutputFolder(out) as folder:
        publish(folder, "red/a.png")
        folder.check_place()
        change(out)
        with pytest.raises(OutputError, match="no longer leads"):
            folder.check_place()


def test_a_link_that_leads_to_the_folder_is_as_good_as_its_name(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to("real")
    with OutputFolder(tmp_path / "out") as folder:
        assert publish(folder, "red/a.png") == [""]
        (tmp_path / "real").rename(tmp_path / "moved")
        (tmp_path / "out").unlink()
        (tmp_path / "out").symlink_to("moved")
        assert publish(folder, "red/b.png") == [""]
        folder.check_place()


def test_a_path_relative_to_the_working_folder_moves_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with OutputFolder(Path("out")) as folder:
        (tmp_path / "here").rename(tmp_path / "there")
        assert publish(folder, "red/a.png") == [""]
        folder.check_place()
    assert (tmp_path / "there/out/red/a.png").exists()


def test_a_folder_that_is_removed_is_said_to_be_removed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with OutputFolder(out) as folder:
        publish(folder, "red/a.png")
        shutil.rmtree(out)
        with pytest.raises(OutputError, match="was removed during the run, with its outputs"):
            folder.stage(b"picture")
        with pytest.raises(OutputError, match="was removed during the run, with its outputs"):
            folder.check_place()
    assert not out.exists()


def test_a_system_that_does_not_tell_paths_of_descriptors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def readlink(path: str) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "readlink", readlink)
    with OutputFolder(tmp_path / "out") as folder:
        publish(folder, "red/a.png")
        rename(tmp_path / "out")
        with pytest.raises(OutputError, match="were written to the folder that used to be .*out"):
            folder.check_place()


def test_an_empty_folder_of_somebody_else_is_not_removed(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "out"):
        replace_by_folder(tmp_path / "out")
    assert (tmp_path / "out").is_dir()


def remove_inner(inner: Path) -> None:
    shutil.rmtree(inner)


def remove_and_make_anew(inner: Path) -> None:
    shutil.rmtree(inner)
    inner.mkdir()
    (inner / "deep").mkdir()


def rename_inner(inner: Path) -> None:
    inner.rename(inner.with_name("other"))


def link_inner(inner: Path) -> None:
    rename_inner(inner)
    inner.symlink_to("other")


@pytest.mark.parametrize("change", [remove_inner, remove_and_make_anew, rename_inner, link_inner])
@pytest.mark.parametrize("inner", ["red", "red/deep", STATE])
@pytest.mark.parametrize("moment", ["before the next output", "after the last output"])
def test_a_folder_in_the_output_folder(tmp_path: Path, change: Change, inner: str, moment: str) -> None:
    with OutputFolder(tmp_path) as folder:
        assert publish(folder, "red/deep/a.png") == [""]
        staged = UnpublishedOutput("red/deep/b.png", Record(SHA, SHA, SHA), folder.stage(b"picture"))
        change(tmp_path / inner)
        with pytest.raises(OutputError, match=f"{inner} was moved") as caught:
            folder.check_place() if moment == "after the last output" else folder.publish([staged])
    if change in (rename_inner, link_inner) and inner != "red":  # only folders that take outputs are open
        assert f"was moved to {(tmp_path / inner).with_name('other')}" in caught.value.message


def test_a_folder_that_was_closed_in_between_is_not_made_again(tmp_path: Path) -> None:
    with OutputFolder(tmp_path) as folder:
        publish(folder, "red/a.png", *(f"{number}/a.png" for number in range(40)))
        shutil.rmtree(tmp_path / "red")
        with pytest.raises(OutputError, match="red was moved or removed"):
            publish(folder, "red/b.png")
    assert not (tmp_path / "red").exists()


def test_a_folder_that_was_closed_in_between_is_told_from_another_one_of_its_name(tmp_path: Path) -> None:
    with OutputFolder(tmp_path) as folder:
        publish(folder, "red/deep/a.png", *(f"{number}/a.png" for number in range(40)))
        (tmp_path / "red").rename(tmp_path / "other")
        (tmp_path / "red" / "deep").mkdir(parents=True)
        with pytest.raises(OutputError, match="red was moved or removed"):
            folder.check_place()


def test_a_folder_that_gets_another_number_while_it_is_closed_is_in_its_place(tmp_path: Path) -> None:
    """As on file systems of networks; here a copy with all its files stands for the folder."""
    with OutputFolder(tmp_path) as folder:
        publish(folder, "red/deep/a.png", *(f"{number}/a.png" for number in range(40)))
        (tmp_path / "red").rename(tmp_path / "other")
        shutil.copytree(tmp_path / "other", tmp_path / "red")
        assert publish(folder, "red/deep/b.png") == [""]
        folder.check_place()


def test_a_journal_that_is_removed_ends_the_run(tmp_path: Path) -> None:
    with OutputFolder(tmp_path) as folder:
        publish(folder, "red/a.png")
        (tmp_path / STATE / "journal.jsonl").unlink()
        with pytest.raises(OutputError, match=r"the journal .* was moved, removed or replaced"):
            publish(folder, "red/b.png")


@pytest.mark.parametrize("moved", ["out", "out/red"])
def test_a_run_never_reports_an_output_that_is_not_under_its_name(
    colorize: Colorize, drawings: Path, tmp_path: Path, moved: str
) -> None:
    plan = make_plan([drawings], RED, output=tmp_path / "out")
    reported: list[ItemResult] = []

    def move(result: ItemResult) -> None:
        if not reported:
            (tmp_path / moved).rename(tmp_path / "moved")
        reported.append(result)

    with pytest.raises(OutputError, match="moved"):
        colorize(tmp_path / "out", plan=plan, on_result=move)
    again = tmp_path / ("moved" if moved == "out" else "out")
    report, _ = colorize(again, plan=make_plan([drawings], RED, output=again))
    assert report.failed == 0
    assert bool(report.skipped) == (moved == "out")
    assert len(list(again.glob("red/*.png"))) == 6


def test_an_input_folder_that_is_moved_fails_input_by_input(colorize: Colorize, drawings: Path, tmp_path: Path) -> None:
    plan = make_plan([drawings], RED, output=tmp_path / "out")
    drawings.rename(tmp_path / "elsewhere")
    report, results = colorize(tmp_path / "out", plan=plan)
    assert (report.ok, report.failed) == (0, 6)
    assert all(os.strerror(2) in result.reason for result in results.values())
