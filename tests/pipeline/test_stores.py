"""Addresses of stores, and what they hold."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from color_settings import setting
from hypothesis import given
from hypothesis import strategies as st

from polyexport.errors import UsageError
from polyexport.model.canvas import CanvasRule
from polyexport.pipeline.decoding.pool import DecodingPool
from polyexport.pipeline.inputs.discover_url import discover_urls
from polyexport.pipeline.plan import make_plan
from polyexport.pipeline.results import ItemResult, RunReport
from polyexport.storage.stores import Store, Url, is_url, local_path, read_url

Colorize = Callable[..., tuple[RunReport, dict[str, ItemResult]]]

names = st.text(st.characters(codec="utf-8", exclude_characters="/?"), min_size=1, max_size=10)


@given(st.lists(names, min_size=1), names)
def test_a_url_is_taken_apart_and_put_together(parts: list[str], name: str) -> None:
    folder = Url.of("s3://" + "/".join(parts) + "?region=eu-west-1")
    inner = folder / name
    assert (inner.name, inner.parent) == (name, folder)
    assert inner.text.endswith("?region=eu-west-1")
    assert folder.holds(inner)
    assert not inner.holds(folder)
    assert Url.of(inner.text) == inner


@pytest.mark.parametrize(
    ("text", "expected"),
    [("s3://b/k", True), ("gs://b", True), ("file:///a", True), ("a/b", False), ("C:\\a", False), ("/a://b", False)],
)
def test_what_is_a_url(text: str, expected: bool) -> None:
    assert is_url(text) is expected


def test_file_urls_are_paths() -> None:
    assert local_path("file:///a%20b/c.png") == "/a b/c.png"
    assert local_path("a/b") == "a/b"
    assert local_path("local:///a/b.png") == "/a/b.png"
    with pytest.raises(UsageError, match="another machine"):
        local_path("file://server/a")


@pytest.mark.parametrize(
    "spelled",
    ["s3://b/k/my%20folder", "s3://b//k/my folder/", "S3://b/k/my folder?region=x", "s3://key:secret@b/k/my%20folder"],
)
def test_one_place_has_many_spellings(spelled: str) -> None:
    assert Url.of(spelled).place == "s3://b/k/my folder"
    assert Url.of(spelled).name == "my folder"


ODD = ["what?.png", "a#b.png", "50%.png", "pct%20.png", "my name.png", "[1].png", "ä ö.png", "a&b=c;d.png"]


def test_odd_names_in_a_store_are_read_and_written_as_they_are(
    colorize: Colorize, drawings: Path, tmp_path: Path
) -> None:
    inputs = tmp_path / "in put#1?"
    (inputs / "sub folder%41").mkdir(parents=True)
    for name in ODD:
        shutil.copy(drawings / "0.png", inputs / name)
        shutil.copy(drawings / "1.png", inputs / "sub folder%41" / f"x{name}")
    source = Url.of(tmp_path.as_uri()) / "in put#1?"
    target = Url.of(tmp_path.as_uri()) / "out put?"
    plan = make_plan([str(source)], [setting("red")], output=target, recursive=True)
    report, _ = colorize(target, plan=plan)
    assert (report.ok, report.failed) == (2 * len(ODD), 0)
    found = {
        path.relative_to(tmp_path / "out put?" / "red").as_posix() for path in tmp_path.glob("out put?/red/**/*.png")
    }
    assert found == {*ODD, *(f"sub folder%41/x{name}" for name in ODD)}
    assert [one.name for one in discover_urls([source / "what?.png"])] == ["what?.png"]


def test_a_url_that_cannot_be_read_fails_alone() -> None:
    with DecodingPool(jobs=1) as decoders:
        decoded = decoders.decode("weird://bucket/a.png", CanvasRule(size=64, multiple=16))
    assert "no installed library reads" in decoded.reason


def test_unknown_file_systems_are_named() -> None:
    with pytest.raises(UsageError, match="no installed library reads"):
        Store(Url.of("weird://bucket/folder"))


def test_folders_are_listed_as_on_a_disk(drawings: Path) -> None:
    (drawings / "sub").mkdir()
    (drawings / "sub" / "a.PNG").write_bytes(b"")
    (drawings / ".hidden.png").write_bytes(b"")
    (drawings / "notes.txt").write_text("hello")
    url = Url.of(drawings.as_uri())
    assert [one.name for one in discover_urls([url])] == [f"{number}.png" for number in range(6)]
    assert [one.name for one in discover_urls([url], recursive=True)][-1] == "sub/a.PNG"
    assert [one.name for one in discover_urls([url], exclude=["[1-9].png"])] == ["0.png"]
    assert [one.name for one in discover_urls([url / "3.png", url / "sub"])] == ["3.png", "sub/a.PNG"]
    plan = make_plan([str(url)], [setting("red")])
    assert str(plan.output) == f"{url}-colored"


@pytest.mark.parametrize(
    ("given", "message"), [("none", "does not exist"), ("empty", "has no image"), ("0.png/x", "does not exist")]
)
def test_nothing_to_do_is_an_error(drawings: Path, given: str, message: str) -> None:
    (drawings / "empty").mkdir()
    with pytest.raises(UsageError, match=message):
        discover_urls([Url.of(drawings.as_uri()) / given])


def test_outputs_never_land_on_inputs(drawings: Path) -> None:
    url = Url.of(drawings.as_uri())
    with pytest.raises(UsageError, match="is the input folder"):
        make_plan([str(url)], [setting("red")], output=url)
    (drawings / "red").mkdir()
    (drawings / "red" / "0.png").write_bytes((drawings / "0.png").read_bytes())
    with pytest.raises(UsageError, match="is an input"):
        make_plan([str(url / "red" / "0.png")], [setting("red")], output=url)
    (drawings / "my folder" / "red").mkdir(parents=True)
    (drawings / "my folder" / "red" / "0.png").write_bytes((drawings / "0.png").read_bytes())
    other_spelling = Url.of(f"{drawings.as_uri()}//my%20folder/")
    with pytest.raises(UsageError, match="is an input"):
        make_plan([str(url / "my folder" / "red" / "0.png")], [setting("red")], output=other_spelling)
    with pytest.raises(UsageError, match="paths and URLs"):
        make_plan([str(url), drawings], [setting("red")])


def test_files_are_read_within_a_limit(drawings: Path) -> None:
    url = Url.of(drawings.as_uri()) / "0.png"
    data = (drawings / "0.png").read_bytes()
    assert read_url(str(url), len(data)) == data
    with pytest.raises(OSError, match="more than the limit"):
        read_url(str(url), len(data) - 1)
    with pytest.raises(FileNotFoundError):
        read_url(str(url.parent / "none"), 1)
