import os
from pathlib import Path

import numpy as np
import pytest
from color_settings import setting
from PIL import Image

from polyexport.errors import UsageError
from polyexport.imaging.color import Color
from polyexport.imaging.output_format import FormatName
from polyexport.pipeline.inputs.manifest import Entry
from polyexport.pipeline.plan import Plan, make_plan, mark_clashes, output_name, plan_entries
from polyexport.storage.spelling import Spelling

RED = setting("red")


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
    for name in ("a.png", "a.jpg", "A.gif", "a.PNG", "b.jpg"):
        picture(tmp_path / "in" / name)
    assert names(make_plan([tmp_path / "in"], [RED])) == ["A.gif.png", "a.PNG.png", "a.jpg.png", "a.png", "b.png"]


def test_a_suffix_is_kept_only_where_it_tells_names_apart(tmp_path: Path) -> None:
    for name in ("a.jpg", "A.jpg", "b.jpg", "B.png", "c.PNG", "c.png"):
        picture(tmp_path / "in" / name)
    assert names(make_plan([tmp_path / "in"], [RED])) == ["A.png", "B.png", "a.png", "b.jpg.png", "c.PNG.png", "c.png"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("jpeg", ["A.gif.jpg", "a.JPG.jpg", "a.jpeg.jpg", "a.png.jpg", "b.jpg", "c.jpg", "d.jpg"]),
        ("tiff", ["A.gif.tiff", "a.JPG.tiff", "a.jpeg.tiff", "a.png.tiff", "b.tiff", "c.tiff", "d.tiff"]),
        ("same", ["A.gif", "a.JPG", "a.jpeg", "a.png", "b.TIF", "c.png", "d.avif"]),
    ],
)
def test_the_format_decides_the_suffix(tmp_path: Path, name: FormatName, expected: list[str]) -> None:
    given = ("a.png", "a.JPG", "a.jpeg", "A.gif", "b.TIF", "c.scan", "d.avif")
    paths = [picture(tmp_path / "in" / one) for one in given]
    assert names(make_plan(paths, [RED], format_name=name)) == expected
    entries = [Entry(str(path), path.name, RED) for path in paths]
    assert names(plan_entries(entries, output=Path("out"), format_name=name)) == expected


def test_a_file_of_an_unknown_suffix_gives_way_to_a_png(tmp_path: Path) -> None:
    paths = [picture(tmp_path / "in" / one) for one in ("a.scan", "a.png", "b")]
    assert names(make_plan(paths, [RED], format_name="same")) == ["a.png", "a.scan.png", "b.png"]


EXACT, FOLDED = Spelling(), Spelling(ignores_case=True, ignores_composition=True)


def clashes(plan: Plan, spelling: Spelling) -> dict[str, str]:
    return {item.source: item.clash for item in mark_clashes(plan, lambda: spelling).items if item.clash}


def test_the_disk_decides_whether_names_that_differ_only_in_case_clash(tmp_path: Path) -> None:
    for name in ("a.png", "A.png", "b.png", "sub/c.png", "SUB/c.png"):
        picture(tmp_path / "in" / name)
    plan = make_plan([tmp_path / "in"], [RED], recursive=True)
    assert names(plan) == ["A.png", "SUB/c.png", "a.png", "b.png", "sub/c.png"]
    assert clashes(plan, EXACT) == {}
    found = clashes(plan, FOLDED)
    assert sorted(found) == [str(tmp_path / "in" / name) for name in ("A.png", "SUB/c.png", "a.png", "sub/c.png")]
    assert found[str(tmp_path / "in" / "a.png")] == (
        f"its output a.png, which this disk does not tell from A.png, is the output of {tmp_path / 'in' / 'A.png'}, "
        "too; rename one of them"
    )


def test_the_disk_is_not_probed_where_no_names_are_alike(tmp_path: Path) -> None:
    picture(tmp_path / "in" / "a.png")
    plan = make_plan([tmp_path / "in"], [RED])

    def probe() -> Spelling:
        raise AssertionError

    assert mark_clashes(plan, probe) is plan


def test_an_accent_apart_clashes_where_the_disk_composes_it(tmp_path: Path) -> None:
    for name in ("caf\u00e9.png", "cafe\u0301.png", "cafe.png"):
        picture(tmp_path / "in" / name)
    plan = make_plan([tmp_path / "in"], [RED])
    assert clashes(plan, Spelling(ignores_case=True)) == {}
    assert len(clashes(plan, Spelling(ignores_composition=True))) == 2


def test_outputs_of_one_name_clash_on_every_disk(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "a.jpg.png", "b.png"):
        picture(tmp_path / "in" / name)
    found = clashes(make_plan([tmp_path / "in"], [RED]), EXACT)
    assert sorted(found) == [str(tmp_path / "in" / name) for name in ("a.jpg", "a.jpg.png")]
    assert all("its output a.jpg.png is the output of" in reason for reason in found.values())


def test_a_file_that_has_the_name_of_a_folder_of_outputs_fails_and_the_folder_does_not(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png/b.png", "a.png/c.png"):
        picture(tmp_path / "in" / name)
    found = clashes(make_plan([tmp_path / "in"], [RED], recursive=True), EXACT)
    assert found == {str(tmp_path / "in" / "a.jpg"): "its output a.png has the name of a folder of outputs; rename it"}


def test_entries_in_different_colors_do_not_clash() -> None:
    blue, entries = setting("blue"), [Entry("a.png", "a.png", RED), Entry("A.png", "A.png", setting("blue"))]
    assert clashes(plan_entries(entries, output=Path("out")), FOLDED) == {}
    entries.append(Entry("a.png", "a.png", blue))
    assert sorted(clashes(plan_entries(entries, output=Path("out")), FOLDED)) == ["A.png", "a.png"]


def test_two_colors_of_one_name_clash() -> None:
    red = setting(Color("Red", (1, 2, 3)))
    plan = plan_entries([Entry("a.png", "a.png", RED), Entry("a.png", "a.png", red)], output=Path("out"))
    assert clashes(plan, EXACT) == {}
    assert "two colors" in clashes(plan, FOLDED)["a.png"]


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
    plan = make_plan([file, file], [RED, setting("RED")], output=tmp_path / "out")
    assert names(plan) == ["a.png"]
    assert plan.settings == (RED,)


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
    assert names(make_plan([tmp_path / "out" / "red"], [setting("blue")], output=tmp_path / "out")) == ["a.png"]


def test_a_manifest_gives_each_image_its_colors(tmp_path: Path) -> None:
    blue = setting("blue")
    entries = [Entry(f"in/{name}", name, color) for name, color in (("b.png", RED), ("a.jpg", blue), ("b.png", blue))]
    plan = plan_entries(entries, output=tmp_path)
    assert [(item.source, item.name, item.settings) for item in plan.items] == [
        ("in/a.jpg", "a.png", (blue,)),
        ("in/b.png", "b.png", (RED, blue)),
    ]
    assert (plan.outputs, set(plan.settings)) == (3, {RED, blue})


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
