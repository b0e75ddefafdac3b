import gc
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyexport.errors import UsageError
from polyexport.pipeline.inputs.discover import discover, find_images, input_folders
from polyexport.pipeline.inputs.naming import Found
from polyexport.pipeline.inputs.path_list import read_list


def put(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def names(found: Iterable[Found]) -> list[str]:
    return [one.name for one in found]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return put(tmp_path / "in", "b.png", "a.PNG", "deep/er/c.jpg", "notes.txt", ".hidden.png", ".git/d.png")


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    return put(tmp_path / "data", "training/inputs/a.png", "training/outputs/r.png", "validation/inputs/a.png")


def test_a_folder_gives_its_images_and_its_tree_on_demand(tree: Path) -> None:
    assert discover([tree]) == [Found(f"{tree}/a.PNG", "a.PNG"), Found(f"{tree}/b.png", "b.png")]
    assert names(discover([str(tree)], recursive=True)) == ["a.PNG", "b.png", "deep/er/c.jpg"]
    assert find_images(tree, recursive=True) == [tree / "a.PNG", tree / "b.png", tree / "deep" / "er" / "c.jpg"]


def test_the_working_folder_has_short_paths(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    assert discover(["."], recursive=True)[2] == Found("deep/er/c.jpg", "deep/er/c.jpg")
    assert discover(["*.png"]) == discover(["./b.png"]) == [Found("b.png", "b.png")]
    assert discover(["d*"], recursive=True) == [Found("deep/er/c.jpg", "er/c.jpg")]


def test_several_inputs_go_below_the_names_of_their_folders(tmp_path: Path, splits: Path) -> None:
    put(tmp_path, "x.dat", "one/a.png", "two/a.png")
    assert names(discover([tmp_path / "x.dat", tmp_path / "one", tmp_path / "two"])) == [
        "one/a.png",
        "two/a.png",
        "x.dat",
    ]
    inputs = [splits / split / "inputs" for split in ("training", "validation")]
    assert names(discover(inputs)) == ["training/inputs/a.png", "validation/inputs/a.png"]


def test_named_files_keep_their_paths_only_if_their_names_repeat(splits: Path) -> None:
    files = [splits / split / "inputs" / "a.png" for split in ("training", "validation")]
    assert names(discover(files[:1])) == ["a.png"]
    assert names(discover(files)) == ["training/inputs/a.png", "validation/inputs/a.png"]
    assert names(discover([*files, put(splits, "x") / "x"])) == [*names(discover(files)), "x"]


def test_one_input_given_twice_counts_once(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree.parent / "alias").symlink_to(tree)
    monkeypatch.chdir(tree)
    one: list[list[str | Path]] = [
        ["b.png", tree / "b.png", "deep/../b.png", tree.parent / "alias" / "b.png"],
        ["*.png", "b.*", f"{tree}/b.png"],
    ]
    for paths in one:
        assert len(discover(paths)) == 1, paths
    assert discover([tree, ".", tree.parent / "alias"], recursive=True) == discover([tree], recursive=True)
    three: list[list[str | Path]] = [[tree, "deep"], ["deep", tree], [tree, "b.png"], [tree, "*.png"], ["**", tree]]
    for paths in three:
        sources = {os.path.realpath(found.source) for found in discover(paths, recursive=True)}
        assert len(discover(paths, recursive=True)) == len(sources) == 3, paths
    # All that a folder holds may have been found in another.
    put(tree.parent, "above/b/c.png")
    assert names(discover([tree.parent / "above" / "b", tree.parent / "above"], recursive=True)) == ["b/c.png"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.png", ["b.png"]),
        ("[ab].*", ["a.PNG", "b.png"]),
        ("n?tes.txt", ["notes.txt"]),
        ("**/*.jpg", ["deep/er/c.jpg"]),
        ("**/*.[pP]*", ["a.PNG", "b.png"]),
        ("deep/*/c.jpg", ["er/c.jpg"]),
        ("*/*/../er/c.jpg", None),
        ("*.gif", None),
        ("missing/*.png", None),
        ("b.png/*", None),
        (".*.png", [".hidden.png"]),
        ("d*/er", ["c.jpg"]),
        ("**/er", ["c.jpg"]),
        ("**/e*/**", ["c.jpg"]),
        ("**", ["deep/er/c.jpg"]),
    ],
)
def test_patterns_are_expanded(tree: Path, pattern: str, found: list[str] | None) -> None:
    if found is None:
        with pytest.raises(UsageError, match="nothing matches"):
            discover([f"{tree}/{pattern}"])
    elif pattern == "**":
        assert names(discover([f"{tree}/**"])) == ["er/c.jpg", "in/a.PNG", "in/b.png"]
    else:
        assert names(discover([f"{tree}/{pattern}"])) == found


def test_folders_that_a_pattern_matches_are_folders_given(tree: Path, splits: Path) -> None:
    assert names(discover([f"{splits}/*/inputs"])) == ["training/inputs/a.png", "validation/inputs/a.png"]
    assert input_folders([f"{splits}/*/inputs", splits, tree / "b.png"]) == [
        splits / "training" / "inputs",
        splits / "validation" / "inputs",
        splits,
    ]
    # One of them may be empty; not all.
    (splits / "empty").mkdir()
    assert names(discover([f"{splits}/*"], recursive=True)) == [
        "training/inputs/a.png",
        "training/outputs/r.png",
        "validation/inputs/a.png",
    ]
    with pytest.raises(UsageError, match="no image in .*add --recursive"):
        discover([f"{splits}/t*"])


def test_a_name_with_wildcards_is_a_name_if_it_exists(tmp_path: Path) -> None:
    put(tmp_path, "a*.png", "ab.png", "[x]/c.png")
    assert names(discover([tmp_path / "a*.png"])) == ["a*.png"]
    assert names(discover([tmp_path / "[x]"])) == ["c.png"]


@pytest.mark.parametrize(
    ("include", "exclude", "left"),
    [
        (["*.png"], [], ["b.png", "old/a/x.png", "old/x.png"]),
        (["old/*"], [], ["old/a/x.png", "old/x.png"]),
        (["/old/*.png"], [], ["old/x.png"]),
        (["x.*", "b.*"], ["old/a/*"], ["b.png", "old/x.png"]),
        ([], ["old/"], ["b.png", "c.jpg", "new/a/y.jpg"]),
        ([], ["a/"], ["b.png", "c.jpg", "old/x.png"]),
        ([], ["**/a/**"], ["b.png", "c.jpg", "old/x.png"]),
        ([], ["**/*.png"], ["c.jpg", "new/a/y.jpg"]),
        ([], ["*/a"], ["b.png", "c.jpg", "old/x.png"]),
        ([], ["a", "c.jpg/"], ["b.png", "c.jpg", "new/a/y.jpg", "old/a/x.png", "old/x.png"]),
    ],
)
def test_include_and_exclude(tmp_path: Path, include: list[str], exclude: list[str], left: list[str]) -> None:
    folder = put(tmp_path, "b.png", "c.jpg", "old/x.png", "old/a/x.png", "new/a/y.jpg")
    assert names(discover([folder], recursive=True, include=include, exclude=exclude)) == left


def test_a_file_that_is_named_is_not_excluded(tree: Path) -> None:
    assert names(discover([tree / "notes.txt", tree], exclude=["*.txt", "a.*"])) == ["in/b.png", "notes.txt"]
    assert names(discover([f"{tree}/*.*"], include=["*.txt"])) == ["notes.txt"]
    none: list[dict[str, Any]] = [{"exclude": ["*"]}, {"include": ["*.gif"]}, {"include": [""]}]
    for arguments in none:
        with pytest.raises(UsageError, match="include and exclude leave no image"):
            discover([tree, f"{tree}/*.png"], **arguments)


def test_an_excluded_folder_is_not_entered(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def guarded(path: str) -> object:
        if path.endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert len(discover([tree], recursive=True, exclude=["deep/"])) == 2
    with pytest.raises(UsageError, match=r"deep cannot be listed \(Permission denied\)"):
        discover([tree], recursive=True)
    with pytest.raises(UsageError, match=r"deep cannot be listed"):
        discover([f"{tree}/**/*.png"])


def test_a_skipped_folder_is_never_entered(tree: Path) -> None:
    put(tree, "out/red/a.png")
    (tree.parent / "alias").symlink_to(tree / "out")
    for paths in ([tree], [f"{tree}/**/*.*"], [tree.parent]):
        for skip in ([tree / "out"], [tree.parent / "alias"], [tree / "missing", tree / "deep" / ".." / "out"]):
            assert not any("out" in name for name in names(discover(paths, recursive=True, skip=skip)))
    assert "out/red/a.png" in names(discover([tree], recursive=True))


def test_links_out_of_the_folder_and_loops_are_not_followed(tmp_path: Path) -> None:
    put(tmp_path, "in/a.png", "in-too/out.png", "in/sub/b.png")
    for link, target in {
        "in.png": "a.png",
        "out.png": "../in-too/out.png",
        "loop": ".",
        "self.png": "self.png",
        "dangling.png": "nowhere.png",
        "folder.png": "sub",
        "sub/up.png": "../a.png",
    }.items():
        (tmp_path / "in" / link).symlink_to(target)
    expected = ["a.png", "dangling.png", "in.png", "self.png", "sub/b.png", "sub/up.png"]
    assert names(discover([tmp_path / "in"], recursive=True)) == expected
    assert names(discover([tmp_path / "in" / "**" / "*.png"])) == expected
    # A link that is named is what the user wants; so is a folder behind one.
    assert names(discover([tmp_path / "in" / "out.png"])) == ["out.png"]
    assert names(discover([tmp_path / "in" / "loop"], recursive=True)) == expected


def test_odd_names_and_odd_files_are_listed(tmp_path: Path) -> None:
    odd = ["-rf.png", "new\nline.png", "\N{PILE OF POO}.png", os.fsdecode(b"\xff\xfe.png"), "x" * 251 + ".png"]
    put(tmp_path, *odd)
    os.mkfifo(tmp_path / "pipe.png")
    assert names(discover([tmp_path])) == names(discover([f"{tmp_path}/*"])) == sorted([*odd, "pipe.png"])
    assert names(discover([tmp_path / "pipe.png"])) == ["pipe.png"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("empty", "no image in .*empty; give a folder with images"),
        ("above", "no image in .*above; its subfolders hold some: add --recursive"),
        ("missing", "missing does not exist"),
        ("x" * 300, "cannot be read"),
        ("nul\0byte", "cannot be read"),
        ("nul\0*", "cannot be read"),
        ("x" * 300 + "*", "nothing matches"),
    ],
)
def test_what_gives_nothing_is_a_usage_error(tmp_path: Path, path: str, said: str) -> None:
    put(tmp_path, "fine/a.png", "above/b/c.png")
    (tmp_path / "empty" / ".git").mkdir(parents=True)
    with pytest.raises(UsageError, match=said):
        discover([tmp_path / "fine", tmp_path / path])


def test_no_path_and_no_folder_are_usage_errors(tree: Path) -> None:
    with pytest.raises(UsageError, match="no input"):
        discover([])
    for path in (tree / "b.png", tree / "*.png", tree / "missing"):
        with pytest.raises(UsageError, match="is not a folder"):
            find_images(path)


def test_a_folder_without_permission_is_a_usage_error(tree: Path) -> None:
    (tree / "deep").chmod(0)
    code = (
        "import sys\nfrom polyexport.errors import UsageError\n"
        "from polyexport.pipeline.inputs.discover import discover\n"
        "try: discover([sys.argv[1]], recursive=True)\nexcept UsageError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(tree)]
    if os.getuid() == 0:
        for parent in (tree, *tree.parents[:-2]):
            parent.chmod(0o755)
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
    done = subprocess.run(command, capture_output=True, text=True)
    (tree / "deep").chmod(0o755)
    assert "deep cannot be listed (Permission denied); check its permissions" in done.stdout


def test_many_inputs_are_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = put(tmp_path / "in", "a.png")
    many = 20_000

    class Entry:
        def __init__(self, name: str) -> None:
            self.name = name

        def is_symlink(self) -> bool:
            return False

        is_dir = is_symlink

    class Listing:
        """A folder of many files, none of which has to be made."""

        def __init__(self, path: str) -> None:
            self.entries = (Entry(f"drawing-{number:07d}.png") for number in range(many))

        def __enter__(self) -> Iterable[Entry]:
            return self.entries

        def __exit__(self, *_: object) -> None:
            self.entries.close()

    monkeypatch.setattr(os, "scandir", Listing)
    gc.collect()
    tracemalloc.start()
    found = discover([folder])
    gc.collect()
    size, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    path_bytes = len(str(folder)) - 60  # as if the folder's path were of usual length
    assert len(found) == many
    assert size / many - path_bytes < 300
    assert peak < size * 1.1


@given(st.lists(st.text(min_size=1).filter(lambda text: "\0" not in text)))
def test_a_list_is_what_print0_writes(paths: list[str]) -> None:
    data = b"".join(path.encode("utf-8", "surrogatepass") + b"\0" for path in paths)
    if paths:
        assert [os.fsencode(path) for path in read_list(data)] == data.split(b"\0")[:-1]


@pytest.mark.parametrize("after", ["nothing", "a file"])
def test_a_subfolder_that_vanishes_during_the_walk_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    put(tmp_path / "in", "a.png", "gone/b.png", "kept/c.png")
    real = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("gone"):
            Path(path).rename(tmp_path / "moved")
            if after == "a file":
                Path(path).write_bytes(b"")
        return real(path)

    monkeypatch.setattr("polyexport.pipeline.inputs.walking.os.scandir", scandir)
    assert [found.name for found in discover([tmp_path / "in"], recursive=True)] == ["a.png", "kept/c.png"]
