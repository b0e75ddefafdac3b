import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from polyexport.data.image_pairs import INDEX, read_image_pairs, read_images
from polyexport.data.pairs import read_pairs
from polyexport.errors import DatasetError
from polyexport.imaging.color import Color

NAMES = ("b.png", "a.png", "deep/c.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pairs without an index; the output of each is lighter than its input."""
    for part, level in (("inputs", 80), ("outputs", 160)):
        for name in NAMES:
            path = tmp_path / "set" / part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), (level, len(name), 0)).save(path)
    return tmp_path / "set"


def index(folder: Path, *conditions: dict[str, Any]) -> None:
    names = sorted(NAMES)
    entries = [
        {"input_polygon": name, "output_image": name} | each for name, each in zip(names, conditions, strict=False)
    ]
    (folder / INDEX).write_text(json.dumps(entries))


def test_files_of_one_path_are_pairs_without_a_condition(folder: Path) -> None:
    pairs = read_image_pairs(folder)
    assert [pair.input.relative_to(folder.resolve() / "inputs").as_posix() for pair in pairs] == sorted(NAMES)
    assert {pair.kind for pair in pairs} == {"none"}
    assert [pair.shape for pair in pairs] == ["a", "b", "c"]
    image, target = read_images(pairs[2].input, pairs[2].output)
    assert (image[0, 0, 0], target[0, 0, 0]) == (80, 160)


def test_suffixes_may_differ_and_other_files_are_left_out(folder: Path) -> None:
    Image.open(folder / "inputs" / "b.png").save(folder / "inputs" / "b.JPG", "JPEG")
    (folder / "inputs" / "b.png").unlink()
    for extra in ("notes.txt", ".hidden.png", "Thumbs.db", "deep/.cache/x.png"):
        (folder / "outputs" / extra).parent.mkdir(exist_ok=True)
        (folder / "outputs" / extra).write_bytes(b"")
    pairs = read_image_pairs(folder)
    assert [pair.input.name for pair in pairs] == ["a.png", "b.JPG", "c.png"]
    assert [pair.output.name for pair in pairs] == ["a.png", "b.png", "c.png"]


@pytest.mark.parametrize("part", ["inputs", "outputs"])
def test_an_image_without_a_counterpart_is_named(part: str, folder: Path) -> None:
    other = "outputs" if part == "inputs" else "inputs"
    (folder / other / "a.png").unlink()
    with pytest.raises(DatasetError, match=rf"{part}/a\.png has no counterpart in {other}/; give") as caught:
        read_image_pairs(folder)
    assert "\n" not in str(caught.value)
    (folder / part / "new.png").touch()
    with pytest.raises(DatasetError, match=r"and so have 1 others"):
        read_image_pairs(folder)


def test_two_images_of_one_name_are_refused(folder: Path) -> None:
    (folder / "inputs" / "a.jpg").touch()
    with pytest.raises(DatasetError, match=r"a\.jpg and a\.png, which differ in their suffix alone"):
        read_image_pairs(folder)


def test_what_is_no_data_set_is_refused(folder: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "missing", folder / "inputs", folder / "inputs" / "a.png", Path("a\0b")):
        with pytest.raises(DatasetError, match="is not a data set; give a folder with inputs/ and outputs/"):
            read_image_pairs(path)
    for part in ("inputs", "outputs"):
        (tmp_path / "empty" / part).mkdir(parents=True)
    with pytest.raises(DatasetError, match="holds no images"):
        read_image_pairs(tmp_path / "empty")


def test_links_out_of_the_set_are_refused_and_linked_folders_not_entered(folder: Path, tmp_path: Path) -> None:
    for part in ("inputs", "outputs"):
        (folder / part / "loop").symlink_to(folder, target_is_directory=True)
    assert len(read_image_pairs(folder)) == 3
    secret = tmp_path / "secret.png"
    Image.new("RGB", (16, 16)).save(secret)
    (folder / "inputs" / "a.png").unlink()
    (folder / "inputs" / "a.png").symlink_to(secret)
    with pytest.raises(DatasetError, match=r"'a\.png' leaves the data set"):
        read_image_pairs(folder)


def test_a_pipe_is_no_image_and_is_not_opened(folder: Path) -> None:
    (folder / "inputs" / "a.png").unlink()
    os.mkfifo(folder / "inputs" / "a.png")
    with pytest.raises(DatasetError, match=r"'a\.png' is missing"):
        read_image_pairs(folder)


def test_an_index_gives_a_color_a_label_or_neither(folder: Path) -> None:
    index(folder, {"label": "ink"}, {"label": "oil-2 b"}, {"label": "ink"})
    assert [(pair.kind, pair.condition) for pair in read_image_pairs(folder)] == [
        ("label", "ink"),
        ("label", "oil-2 b"),
        ("label", "ink"),
    ]
    index(folder, {}, {})
    assert [pair.condition for pair in read_image_pairs(folder)] == [None, None]
    index(folder, {"colour": "green"}, {"colour": "#102030"})
    green, other = read_image_pairs(folder)
    assert (green.kind, green.condition) == ("color", Color("green", (0, 255, 0)))
    assert isinstance(other.condition, Color)
    assert other.condition.rgb == (16, 32, 48)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({"colour": "red"}, {"label": "ink"}, "entry 1 has a label, entry 0 has a color; give every entry"),
        ({"label": "ink"}, {}, "entry 1 has neither a color nor a label, entry 0 has a label"),
        ({}, {"colour": "red"}, "entry 1 has a color, entry 0 has neither a color nor a label"),
        ({"label": "ink"}, {"label": "ink", "colour": "red"}, "entry 1 has a color and a label; leave one"),
        ({"label": "ink"}, {"label": 3}, "entry 1: its label must be text of letters"),
        ({"label": "ink"}, {"label": None}, "entry 1: its label must be text of letters"),
        ({"label": "ink"}, {"label": ""}, "entry 1: its label must be .*, got ''; correct the label"),
        ({"label": "ink"}, {"label": " ink"}, "entry 1: its label must be .* at both ends, got ' ink'"),
        ({"label": "ink"}, {"label": "a\nb"}, "entry 1: its label must be text of letters"),
        ({"label": "ink"}, {"label": "x" * 65}, "entry 1: its label must be text of letters"),
        ({"colour": "red"}, {"colour": None}, "entry 1: its color is not text"),
    ],
)
def test_mixed_and_unusable_conditions_are_refused(
    folder: Path, first: dict[str, Any], second: dict[str, Any], said: str
) -> None:
    index(folder, first, second)
    with pytest.raises(DatasetError, match=said) as caught:
        read_image_pairs(folder)
    assert "\n" not in str(caught.value)


def test_drawings_without_colors_are_not_filled_drawings(folder: Path) -> None:
    for condition in ({"label": "ink"}, {}):
        index(folder, condition)
        with pytest.raises(DatasetError, match=r"entries of .*data\.json have no colors; give every entry its color"):
            read_pairs(folder)


def test_images_that_do_not_fit_or_cannot_be_read_are_named(folder: Path) -> None:
    first = read_image_pairs(folder)[0]
    Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(first.output)
    with pytest.raises(DatasetError, match="16x16.*9x8"):
        read_images(first.input, first.output)
    first.output.write_bytes(b"text")
    with pytest.raises(DatasetError, match=r"outputs/a\.png: .*known format"):
        read_images(first.input, first.output)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["a.png", "red", "../a.png"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["input_polygon", "output_image", "colour", "label", "shape", "other"]), inner, max_size=6
        )
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(JSON)
def test_any_index_is_pairs_of_one_kind_or_a_data_set_error(folder: Path, document: object) -> None:
    (folder / INDEX).write_text(json.dumps(document))
    try:
        pairs = read_image_pairs(folder)
    except DatasetError:
        return
    assert len({pair.kind for pair in pairs}) == 1
    assert all(pair.input.is_relative_to(folder.resolve() / "inputs") for pair in pairs)
