import os
from pathlib import Path

import pytest

from polyexport.errors import PolyexportError, UsageError
from polyexport.model.conditions import condition_of
from polyexport.model.conditions.fields import ImageFields
from polyexport.pipeline.request import Request
from polyexport.pipeline.watching.watched_folder import FolderHandle, WatchedFolder, plan_watch


def watched(folder: Path, target: Path, **request: object) -> WatchedFolder:
    request = {"paths": [str(folder)], "output": str(target), "recursive": True} | request
    return plan_watch(Request(**request), ())  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    names = (
        "a.png",
        "sub/b.JPG",
        "sub/.hidden/c.png",
        ".d.png",
        "e.png.tmp",
        "f.png~",
        "g.part",
        "out/h.png",
        "old/i.png",
    )
    for name in names:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    return tmp_path / "in"


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({}, {"a.png", "sub/b.JPG", "old/i.png"}),
        ({"recursive": False}, {"a.png"}),
        ({"exclude": ["old/"]}, {"a.png", "sub/b.JPG"}),
        ({"include": ["*.JPG"]}, {"sub/b.JPG"}),
    ],
)
def test_listing_and_telling_agree(folder: Path, request_: dict[str, object], expected: set[str]) -> None:
    one = watched(folder, folder / "out", **request_)
    assert set(one.files(passes_over=False)) == expected
    told = {one.relative(str(path)) for path in folder.rglob("*")}
    assert {relative for relative in told if relative and one.takes(relative)} == expected
    assert one.relative(str(folder)) is None
    assert one.relative(str(folder.parent / "elsewhere.png")) is None
    assert one.is_folder("sub") is (request_.get("recursive") is not False)
    assert not one.is_folder("sub/.hidden")


def test_a_second_picture_is_no_input(folder: Path) -> None:
    conditions = [condition_of(ImageFields(name="mask", channels=1))]
    request = Request(paths=[str(folder)], pictures=[f"mask={folder / 'a.png'}"])
    one = plan_watch(request, conditions)
    assert list(one.files(passes_over=False)) == []
    with pytest.raises(UsageError, match="waits for no pictures"):
        plan_watch(Request(paths=[str(folder)], pictures=[f"mask={folder}"]), conditions)


@pytest.mark.parametrize("output", ["in", ".", "../tmp"])
def test_an_output_that_would_be_watched_is_refused(folder: Path, output: str) -> None:
    output = str(folder.parent if output == "../tmp" else folder.parent / output)
    with pytest.raises(UsageError, match="lies in it"):
        watched(folder, Path(output))


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"paths": []}, "got 0 paths"),
        ({"paths": ["a", "b"]}, "got 2 paths"),
        ({"paths": ["missing"]}, "missing does not exist"),
        ({"paths": ["*.png"]}, "patterns do not go"),
        ({"paths": [__file__]}, "is not a folder"),
        ({"paths": ["s3://bucket/in"]}, "URLs do not go"),
        ({"output": "s3://bucket/out"}, "URLs do not go"),
        ({"manifest": Path("data.json")}, "--manifest does not go"),
        ({"files_from": "-"}, "--files-from does not go"),
    ],
)
def test_what_cannot_be_watched(folder: Path, request_: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        watched(folder, folder / "out", **request_)


def test_the_output_is_beside_the_folder_by_default(folder: Path) -> None:
    assert plan_watch(Request(paths=[str(folder)]), ()).output == folder.with_name("in-results")


@pytest.mark.parametrize("how", ["removed", "moved", "replaced", "linked"])
def test_a_folder_that_is_no_longer_there_is_seen(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    path = folder
    if how == "linked":
        path = tmp_path / "link"
        path.symlink_to(folder)
    with FolderHandle(str(path)) as handle:
        handle.check()
        if how == "linked":
            path.unlink()
            path.symlink_to(tmp_path)
        elif how == "moved":
            folder.rename(tmp_path / "elsewhere")
        else:
            folder.rmdir()
        if how == "replaced":
            folder.mkdir()  # some file systems give it the number of the removed one
        with pytest.raises(PolyexportError, match="was removed, moved or replaced") as error:
            handle.check()
        assert error.value.exit_code == 1


def test_a_subfolder_that_cannot_be_listed_is_passed_over_later(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("old"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    one = watched(folder, folder / "out")
    assert set(one.files(passes_over=True)) == {"a.png", "sub/b.JPG"}
    with pytest.raises(UsageError, match="old cannot be listed"):
        list(one.files(passes_over=False))
