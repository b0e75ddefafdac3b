import os
from pathlib import Path

import pytest
from color_settings import setting
from hypothesis import given
from hypothesis import strategies as st

from polyexport.errors import UsageError
from polyexport.model.conditions import condition_of
from polyexport.model.conditions.fields import ImageFields, NumberFields
from polyexport.pipeline.inputs.pairing import NO_PICTURES, Pairing, Pictures, parse_pairing
from polyexport.pipeline.plan import make_plan
from polyexport.storage.stores import Url

MASK = condition_of(ImageFields(name="mask", channels=1))
DEPTH = condition_of(ImageFields(name="depth"))
SIGMA = condition_of(NumberFields(name="sigma", minimum=0, maximum=1))


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def pairing(path: Path) -> Pairing:
    return parse_pairing([MASK], [f"mask={path}"])


def test_a_picture_has_the_path_and_the_name_of_its_input(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("a.png", "a.txt", "b.JPG", "deep/a.bmp", "c.d.png", ".e.png", "deep.png")))
    found = pairing(tmp_path)
    for name, expected in {
        "a.jpg": "a.png",
        "b.png": "b.JPG",
        "deep/a.png": "deep/a.bmp",
        "c.d.webp": "c.d.png",
        "deep.gif": "deep.png",
    }.items():
        assert found.pictures(name) == (str(tmp_path / expected),)
    for name in ("e.png", "A.png", "other/a.png", "a.png/x.png", "c.png"):
        (missing,) = found.pictures(name)
        assert not Path(missing).exists()
        assert missing == f"{tmp_path}/{name.removesuffix('.png')}.*"


def test_the_same_suffix_decides_between_several(tmp_path: Path) -> None:
    touch(tmp_path / "a.png", tmp_path / "a.jpg")
    assert pairing(tmp_path).pictures("a.jpg") == (str(tmp_path / "a.jpg"),)
    with pytest.raises(UsageError, match=r"a\.jpg and a\.png both belong to the input a\.bmp; remove one"):
        pairing(tmp_path).pictures("a.bmp")


def test_one_file_is_for_every_input(tmp_path: Path) -> None:
    touch(tmp_path / "one.png", tmp_path / "depths" / "x.png")
    both = parse_pairing([MASK, SIGMA, DEPTH], [f"depth={tmp_path / 'depths'}", f"mask={tmp_path / 'one.png'}"])
    assert both.names == ("mask", "depth")
    assert both.pictures("x.jpg") == (str(tmp_path / "one.png"), str(tmp_path / "depths" / "x.png"))


def test_pictures_in_a_store(tmp_path: Path) -> None:
    touch(tmp_path / "my masks" / "deep" / "a.png")
    url = Url.of(f"{tmp_path.as_uri()}/my masks")
    found = Pairing((("mask", Pictures(str(url), is_folder=True)),))
    assert found.pictures("deep/a.jpg") == (str(url / "deep/a.png"),)
    assert found.pictures("other/a.jpg") == (str(url / "other/a.*"),)
    assert found.paths == []
    with pytest.raises(UsageError, match="weird://bucket/masks"):
        parse_pairing([MASK], ["mask=weird://bucket/masks"])
    assert NO_PICTURES.pictures("a.png") == ()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "no mask was given; the model takes mask .a second picture.* give --with mask=DIR"),
        (["mask"], "'mask' is not NAME=DIR or NAME=FILE; give --with mask=DIR"),
        (["mask="], "is not NAME=DIR"),
        (["sigma=1"], "the model takes no picture 'sigma'; it takes mask"),
        (["mask=nowhere"], "nowhere, the pictures of mask, does not exist"),
        (["mask=.", "mask=."], "the pictures of mask are given twice"),
    ],
)
def test_what_is_no_pairing_is_a_usage_error(given: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_pairing([MASK, SIGMA], given)


@given(st.lists(st.text() | st.from_regex(r"mask=[a-z./\0]*"), max_size=3))
def test_any_text_is_a_pairing_or_a_usage_error(texts: list[str]) -> None:
    try:
        found = parse_pairing([MASK], texts)
    except UsageError as error:
        assert error.remedy
    else:
        assert found.names == ("mask",)


def test_second_pictures_are_no_inputs(tmp_path: Path) -> None:
    touch(*(tmp_path / "in" / name for name in ("a.png", "deep/b.png", "masks/a.png", "masks/deep/b.png")))
    plan = make_plan([tmp_path / "in"], [setting("red")], recursive=True, pairing=pairing(tmp_path / "in" / "masks"))
    assert [item.name for item in plan.items] == ["a.png", "deep/b.png"]
    assert [item.pictures for item in plan.items] == [
        (str(tmp_path / "in" / "masks" / name),) for name in ("a.png", "deep/b.png")
    ]
    assert plan.pictures == ("mask",)

    plan = make_plan([tmp_path / "in"], [setting("red")], recursive=True, pairing=pairing(tmp_path / "in" / "a.png"))
    assert [item.name for item in plan.items] == ["deep/b.png", "masks/a.png", "masks/deep/b.png"]


def test_pictures_among_the_inputs_and_outputs_over_them_are_refused(tmp_path: Path) -> None:
    touch(tmp_path / "in" / "a.png", tmp_path / "masks" / "red" / "a.png")
    with pytest.raises(UsageError, match="second pictures lie in the input folder"):
        make_plan([tmp_path / "in"], [setting("red")], pairing=pairing(tmp_path / "in"))
    os.link(tmp_path / "in" / "a.png", tmp_path / "masks" / "a.png")
    with pytest.raises(UsageError, match="red/a.png is an input"):
        make_plan(
            [tmp_path / "in"],
            [setting("red")],
            output=tmp_path / "masks",
            pairing=pairing(tmp_path / "masks" / "red" / "a.png"),
        )
