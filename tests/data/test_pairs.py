import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from polyexport.data.drawings import draw
from polyexport.data.image_pairs import INDEX
from polyexport.data.pairs import PairPixels, read_pair, read_pairs, read_splits, write_pairs
from polyexport.errors import DatasetError, UsageError
from polyexport.imaging.color import color_of, parse_color


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    drawings = [draw(np.random.default_rng(i), 32) for i in range(3)]
    write_pairs(
        tmp_path,
        {
            "set": [
                (str(i), PairPixels(image=one.image, color=color_of(one.color), colored=one.colored))
                for i, one in enumerate(drawings)
            ]
        },
    )
    return tmp_path / "set"


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def change(folder: Path, **entry: object) -> None:
    entries = json.loads((folder / INDEX).read_text())
    entries[1] |= entry
    (folder / INDEX).write_text(json.dumps(entries))


def test_what_is_written_is_read(folder: Path) -> None:
    drawing = draw(np.random.default_rng(2), 32)
    pixels = read_pair(read_pairs(folder)[2])

    assert np.array_equal(pixels.image, drawing.image)
    assert np.array_equal(pixels.colored, drawing.colored)
    assert pixels.color.rgb == drawing.color


def test_green_is_the_layouts_green_and_hex_is_exact(folder: Path) -> None:
    change(folder, colour="green")  # codespell:ignore
    assert read_pairs(folder)[1].color.rgb == (0, 255, 0)
    change(folder, colour="#008000")  # codespell:ignore
    assert read_pairs(folder)[1].color.rgb == parse_color("green").rgb


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"colour": "grene"}, "entry 1.*unknown color 'grene'.*green"),
        ({"colour": 3}, "entry 1"),
        ({"input_polygon": "missing.png"}, "'missing.png' is missing"),
        ({"input_polygon": "../outputs/x.png"}, "leaves the data set"),
        ({"output_image": "/etc/passwd"}, "leaves the data set"),
        ({"input_polygon": "a\0b"}, "not a usable path|is missing"),
        ({"input_polygon": "."}, "leaves|missing"),
        ({"shape": 3}, "entry 1.*shape"),
        ({"shape": None}, "entry 1.*shape"),
        ({"shape": "x" * 65}, "entry 1.*shape"),
        ({"shape": "a\nb"}, "entry 1.*shape"),
    ],
)
def test_a_bad_entry_is_named(folder: Path, entry: dict[str, object], said: str) -> None:
    change(folder, **entry)
    with pytest.raises(DatasetError, match=said):
        read_pairs(folder)


def test_a_link_out_of_the_set_is_refused(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    Image.new("RGB", (8, 8)).save(outside)
    (folder / "inputs" / "link.png").symlink_to(outside)
    change(folder, input_polygon="link.png")
    with pytest.raises(DatasetError, match="leaves the data set"):
        read_pairs(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "[1]", "[" * 100_000, '"\\ud800"'])
def test_an_unusable_index_is_refused(folder: Path, text: str) -> None:
    (folder / INDEX).write_text(text)
    with pytest.raises(DatasetError):
        read_pairs(folder)


def test_a_missing_index_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="inputs/, outputs/ and data.json"):
        read_pairs(tmp_path)


def test_images_of_two_sizes_and_damaged_ones_are_refused(folder: Path) -> None:
    pairs = read_pairs(folder)
    Image.new("RGB", (8, 9)).save(pairs[0].output)
    with pytest.raises(DatasetError, match="32x32.*8x9"):
        read_pair(pairs[0])
    pairs[0].output.write_bytes(b"text")
    with pytest.raises(DatasetError, match="known format"):
        read_pair(pairs[0])


def test_an_interrupted_set_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    pair = read_pair(read_pairs(folder)[0])

    def interrupted() -> Iterator[tuple[str, PairPixels]]:
        yield "0", pair
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pairs(tmp_path / "new", {"": interrupted()})
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_an_interrupt_leaves_the_earlier_set_as_it_was(folder: Path) -> None:
    pair = read_pair(read_pairs(folder)[0])
    before = tree(folder)

    def interrupted() -> Iterator[tuple[str, PairPixels]]:
        yield "0", pair
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pairs(folder, {"": interrupted()}, overwrite=True)
    assert tree(folder) == before


def test_a_smaller_set_leaves_no_orphans(folder: Path) -> None:
    pair = read_pair(read_pairs(folder)[0])
    write_pairs(folder, {"": [("new", pair)]}, overwrite=True)
    assert [path.name for path in (folder / "inputs").iterdir()] == ["new.png"]
    assert len(list((folder / "outputs").iterdir())) == 1


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["inputs/0.png", "outputs/{color}_0.png"])
def test_a_picture_that_no_index_lists_is_not_replaced(
    name: str, overwrite: bool, folder: Path, tmp_path: Path
) -> None:
    pair = read_pair(read_pairs(folder)[0])
    mine = tmp_path / "mine" / name.format(color=pair.color.name)
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    before = tree(tmp_path)
    with pytest.raises(UsageError, match=r"is there already, and no data\.json lists it"):
        write_pairs(tmp_path / "mine", {"": [("1", pair), ("0", pair)]}, overwrite=overwrite)
    assert tree(tmp_path) == before


def test_an_earlier_set_is_replaced_only_if_that_was_asked_for(folder: Path, tmp_path: Path) -> None:
    pair = read_pair(read_pairs(folder)[0])
    (folder / "inputs" / "mine.png").write_bytes(b"mine")
    before = tree(tmp_path)
    with pytest.raises(UsageError, match="set already holds a data set; add --overwrite"):
        write_pairs(tmp_path, {"other": [("new", pair)], "set": [("new", pair)]})
    assert tree(tmp_path) == before
    write_pairs(tmp_path, {"other": [("new", pair)], "set": [("new", pair)]}, overwrite=True)
    names = {f"{each}/{name}" for each in ("other", "set") for name in ("data.json", "inputs/new.png")}
    outputs = {name for name in tree(tmp_path) if "/outputs/" in name}
    assert tree(tmp_path).keys() == names | outputs | {"set/inputs/mine.png"}
    assert len(outputs) == 2


@pytest.mark.parametrize("text", ["", "{}", "[1", '[{"a": 1, "a": 2}]'])
def test_a_file_that_is_no_index_is_not_replaced(text: str, folder: Path) -> None:
    pair = read_pair(read_pairs(folder)[0])
    (folder / INDEX).write_text(text)
    before = tree(folder)
    with pytest.raises(UsageError, match="data.json is not .*; move it away"):
        write_pairs(folder, {"": [("new", pair)]}, overwrite=True)
    assert tree(folder) == before


def test_an_index_reaches_nothing_outside_of_its_set(folder: Path, tmp_path: Path) -> None:
    pair = read_pair(read_pairs(folder)[0])
    (tmp_path / "precious.png").write_bytes(b"mine")
    (folder / "inputs" / "linked").symlink_to(tmp_path)
    entries = json.loads((folder / INDEX).read_text())
    names = ["../../precious.png", str(tmp_path / "precious.png"), "linked/precious.png", "", ".", "a\0b", 3]
    entries += [{"input_polygon": name, "output_image": name} for name in names] + [[], 1]
    (folder / INDEX).write_text(json.dumps(entries))
    write_pairs(folder, {"": [("new", pair)]}, overwrite=True)
    assert (tmp_path / "precious.png").read_bytes() == b"mine"
    assert len(tree(folder)) == 3


def test_a_set_that_lost_a_picture_can_be_replaced(folder: Path) -> None:
    pairs = read_pairs(folder)
    pair = read_pair(pairs[0])
    pairs[1].input.unlink()
    write_pairs(folder, {"": [("new", pair)]}, overwrite=True)
    assert len(tree(folder)) == 3


def test_an_absolute_path_is_refused_even_inside_the_set(folder: Path) -> None:
    change(folder, input_polygon=str(folder.resolve() / "inputs" / "0.png"))
    with pytest.raises(DatasetError, match="leaves the data set"):
        read_pairs(folder)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("star", "star"),
        ("012_star", "star"),
        ("Star-3_red", "star"),
        ("12", ""),
        ("_", ""),
        ("étoile9", "étoile"),
        ("x" * 200, "x" * 64),
    ],
)
def test_the_name_tells_the_shape(folder: Path, name: str, shape: str) -> None:
    (folder / "inputs" / "0.png").rename(folder / "inputs" / f"{name}.png")
    change(folder, input_polygon=f"{name}.png")
    entries = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps(entries[1:]))
    assert read_pairs(folder)[0].shape == shape


def test_an_entry_tells_the_shape(folder: Path) -> None:
    pair = read_pair(read_pairs(folder)[0])
    write_pairs(folder, {"": [("012_star", replace(pair, shape="five tips")), ("star", pair)]}, overwrite=True)
    first, second = read_pairs(folder)
    assert (first.shape, second.shape) == ("five tips", "star")
    assert read_pair(first).shape == "five tips"
    assert "shape" not in json.loads((folder / INDEX).read_text())[1]


def test_splits_are_named_by_their_folders(folder: Path, tmp_path: Path) -> None:
    for name in ("data/clean", "data/gapped", "other/clean"):
        shutil.copytree(folder, tmp_path / name)
    (tmp_path / "data" / ".hidden").mkdir()
    (tmp_path / "data" / "notes.txt").write_text("no split")
    assert {name: len(pairs) for name, pairs in read_splits([folder]).items()} == {"set": 3}
    assert list(read_splits([tmp_path / "data"])) == ["clean", "gapped"]
    assert list(read_splits([tmp_path / "data", tmp_path / "data" / "clean"])) == ["clean", "gapped"]
    both = read_splits([tmp_path / "data", tmp_path / "other"])
    assert list(both) == [str(tmp_path / "data" / "clean"), "gapped", str(tmp_path / "other" / "clean")]


def test_a_split_without_an_index_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="data.json cannot be read"):
        read_splits([tmp_path / "missing"])
    shutil.copytree(folder, tmp_path / "data" / "whole")
    (tmp_path / "data" / "interrupted").mkdir()
    with pytest.raises(DatasetError, match="interrupted/data.json cannot be read"):
        read_splits([tmp_path / "data"])
    (folder / INDEX).unlink()
    with pytest.raises(DatasetError, match="set/data.json cannot be read"):
        read_splits([folder])
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_splits([tmp_path / "loop"])
