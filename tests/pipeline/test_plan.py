import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from polyexport.errors import UsageError
from polyexport.imaging.color import parse_color
from polyexport.pipeline.inputs.manifest import Entry
from polyexport.pipeline.plan import Plan, make_plan, output_name, plan_entries

RED = parse_color("red")


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path, "PNG")
    return path


def names(plan: Plan) -> list[str]:
    return [str(item.name) for item in plan.items]


def test_the_default_output_is_a_sibling_and_keeps_the_tree(tmp_path: Path) -> None:
    for name in ("b.png", "a.PNG", "deep/er/c.jpg", "notes.txt", ".hidden.png", ".git/d.png"):
        picture(tmp_path / "in" / name)
    flat = make_plan([tmp_path / "in"], [RED])
    deep = make_plan([tmp_path / "in"], [RED], recursive=True)

    assert names(flat) == ["a.png", "b.png"]
    assert names(deep) == ["a.png", "b.png", "deep/er/c.png"]
    assert (deep.output, output_name(deep.items[2], RED)) == (tmp_path / "in-colored", "red/deep/er/c.png")


def test_files_and_several_paths_go_to_colored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = picture(tmp_path / "elsewhere" / "x.dat")
    one, two = picture(tmp_path / "one" / "a.png"), picture(tmp_path / "two" / "a.png")
    plan = make_plan([file, one.parent, two.parent], [RED])

    assert plan.output == Path("colored")
    assert names(plan) == ["one/a.png", "two/a.png", "x.png"]


def test_one_name_from_two_inputs_keeps_both(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "A.gif", "b.jpg"):
        picture(tmp_path / "in" / name)
    assert names(make_plan([tmp_path / "in"], [RED])) == ["A.gif.png", "a.jpg.png", "a.png", "b.png"]


def test_names_that_differ_only_in_case_are_a_usage_error(tmp_path: Path) -> None:
    picture(tmp_path / "in" / "a.png")
    picture(tmp_path / "in" / "A.png")
    with pytest.raises(UsageError, match="same output"):
        make_plan([tmp_path / "in"], [RED])


@pytest.mark.parametrize("output", ["in", "in/../in", "link"])
def test_an_output_that_is_the_input_is_refused(tmp_path: Path, output: str) -> None:
    picture(tmp_path / "in" / "a.png")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    with pytest.raises(UsageError, match="is the input folder"):
        make_plan([tmp_path / "in"], [RED], output=tmp_path / output)


@pytest.mark.parametrize("output", ["in/out", "link/out", "in/deep/../out"])
def test_an_output_inside_the_input_is_left_out_of_the_scan(tmp_path: Path, output: str) -> None:
    picture(tmp_path / "in" / "a.png")
    picture(tmp_path / "in" / "deep" / "b.png")
    picture(tmp_path / "in" / "out" / "red" / "a.png")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    plan = make_plan([tmp_path / "in"], [RED], output=tmp_path / output, recursive=True)
    assert names(plan) == ["a.png", "deep/b.png"]


def test_empty_and_missing_inputs_are_usage_errors(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no image in .*empty"):
        make_plan([tmp_path / "empty"], [RED])
    with pytest.raises(UsageError, match="does not exist"):
        make_plan([tmp_path / "missing"], [RED])
    picture(tmp_path / "empty" / "deep" / "a.png")
    with pytest.raises(UsageError, match="--recursive"):
        make_plan([tmp_path / "empty"], [RED])


def test_links_out_of_the_folder_and_loops_of_folders_are_not_followed(tmp_path: Path) -> None:
    inside = picture(tmp_path / "in" / "a.png")
    outside = picture(tmp_path / "out.png")
    (tmp_path / "in" / "in.png").symlink_to(inside)
    (tmp_path / "in" / "out.png").symlink_to(outside)
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "self.png").symlink_to(tmp_path / "in" / "self.png")
    assert names(make_plan([tmp_path / "in"], [RED], recursive=True)) == ["a.png", "in.png", "self.png"]


def test_repeated_colors_and_repeated_files_count_once(tmp_path: Path) -> None:
    file = picture(tmp_path / "a.png")
    plan = make_plan([file, file], [RED, parse_color("RED")], output=tmp_path / "out")
    assert names(plan) == ["a.png"]
    assert plan.colors == (RED,)


def test_odd_names_survive(tmp_path: Path) -> None:
    odd = ["-rf.png", "new\nline.png", "\N{PILE OF POO}.png", os.fsdecode(b"\xff\xfe.png"), "x" * 251 + ".png"]
    for name in odd:
        picture(tmp_path / "in" / name)
    assert sorted(names(make_plan([tmp_path / "in"], [RED]))) == sorted(odd)


def test_an_input_is_never_an_output(tmp_path: Path) -> None:
    """Ways in which --overwrite would replace what the user drew."""
    drawing = picture(tmp_path / "out" / "red" / "a.png")
    picture(tmp_path / "in" / "a.png")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "red").symlink_to(tmp_path / "in")
    (tmp_path / "a.png").symlink_to(drawing)
    for given, output in (("out/red", "out"), ("out/red/a.png", "out"), ("in", "linked"), ("a.png", "out")):
        with pytest.raises(UsageError, match="is an input"):
            make_plan([tmp_path / given], [RED], output=tmp_path / output)
    assert names(make_plan([tmp_path / "out" / "red"], [parse_color("blue")], output=tmp_path / "out")) == ["a.png"]


def test_a_manifest_gives_each_image_its_colors(tmp_path: Path) -> None:
    blue = parse_color("blue")
    entries = [Entry(f"in/{name}", name, color) for name, color in (("b.png", RED), ("a.jpg", blue), ("b.png", blue))]
    plan = plan_entries(entries, output=tmp_path)
    assert [(item.source, item.name, item.colors) for item in plan.items] == [
        ("in/a.jpg", "a.png", (blue,)),
        ("in/b.png", "b.png", (RED, blue)),
    ]
    assert (plan.outputs, set(plan.colors)) == (3, {RED, blue})
    with pytest.raises(UsageError, match="same output"):
        plan_entries([Entry("a.png", "a.png", RED), Entry("A.png", "A.png", RED)], output=tmp_path)


def test_folders_of_one_name_keep_their_paths(tmp_path: Path) -> None:
    for split in ("training", "validation"):
        picture(tmp_path / split / "inputs" / "a.png")
    folders = [tmp_path / split / "inputs" for split in ("training", "validation")]
    assert names(make_plan(folders, [RED], output=tmp_path / "out")) == [
        "training/inputs/a.png",
        "validation/inputs/a.png",
    ]


def test_a_path_that_no_system_takes_is_a_usage_error(tmp_path: Path) -> None:
    for path in (tmp_path / ("x" * 300), Path("nul\0byte")):
        with pytest.raises(UsageError):
            make_plan([path], [RED])
