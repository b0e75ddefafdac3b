"""Manifests of models that take other conditions than a color."""

from pathlib import Path
from typing import Any

import pytest

from polyexport.errors import UsageError
from polyexport.model.conditions import condition_of
from polyexport.model.conditions.condition import Condition
from polyexport.model.conditions.fields import (
    ColorFields,
    ConditionFields,
    ImageFields,
    LabelFields,
    NumberFields,
    VectorFields,
)
from polyexport.pipeline.inputs.manifest import Entry, read_manifest
from polyexport.pipeline.inputs.pairing import parse_pairing
from polyexport.pipeline.plan import plan_entries

SIGMA = NumberFields(name="sigma", minimum=0, maximum=75, default=25)
STRENGTH = NumberFields(name="strength", minimum=0, maximum=1)
STYLE = LabelFields(name="style", labels=("sketch", "van gogh"))
CODE = VectorFields(name="code", dim=2)
MASK = ImageFields(name="mask", channels=1)
COLOR = ColorFields(conditioning="rgb")


def built(*fields: ConditionFields) -> list[Condition[Any]]:
    return [condition_of(one) for one in fields]


def read(folder: Path, text: str, *fields: ConditionFields, **options: Any) -> list[Entry]:
    (folder / "list.csv").write_text(text)
    return read_manifest(folder / "list.csv", built(*fields), **options)


def short(entries: list[Entry]) -> list[tuple[str, str]]:
    return [(entry.name, entry.setting.folder) for entry in entries]


def test_every_condition_has_a_column(tmp_path: Path) -> None:
    text = "strength;image;Style;note\n0.5;a.png;van gogh;x\n1;b.png;SKETCH;\n1;b.png;sketch;again\n"
    assert short(read(tmp_path, text, STYLE, STRENGTH)) == [
        ("a.png", "van gogh,strength=0.5"),
        ("b.png", "sketch,strength=1"),
    ]
    text = 'image,code,color\na.png,"1,2",red\na.png,"0, -1",#0080ff\n'
    assert short(read(tmp_path, text, COLOR, CODE)) == [("a.png", "red,code=1 2"), ("a.png", "0080ff,code=0 -1")]


def test_what_has_a_default_needs_no_column_and_no_field(tmp_path: Path) -> None:
    assert short(read(tmp_path, "image\na.png\n", SIGMA)) == [("a.png", "sigma=25")]
    assert short(read(tmp_path, "image,sigma\na.png,\nb.png, 3 \n", SIGMA)) == [
        ("a.png", "sigma=25"),
        ("b.png", "sigma=3"),
    ]
    assert short(read(tmp_path, "input\na.png\n")) == [("a.png", "")]


def test_options_give_what_no_column_gives(tmp_path: Path) -> None:
    found = read(tmp_path, "image,style\na.png,sketch\n", STYLE, STRENGTH, assignments=["strength=0", "strength=1"])
    assert short(found) == [("a.png", "sketch,strength=0"), ("a.png", "sketch,strength=1")]


def test_pictures_are_named_beside_their_images(tmp_path: Path) -> None:
    found = read(tmp_path, "image,mask\na.png,masks/x.png\nb.png,masks/y.png\n", MASK)
    assert [entry.pictures for entry in found] == [(("mask", f"{tmp_path}/masks/{name}.png"),) for name in ("x", "y")]
    plan = plan_entries(found, output=tmp_path / "out", pairing=parse_pairing(built(MASK), [], manifest=True))
    assert [(item.name, item.pictures) for item in plan.items] == [
        ("a.png", (f"{tmp_path}/masks/x.png",)),
        ("b.png", (f"{tmp_path}/masks/y.png",)),
    ]

    (tmp_path / "a.tiff").write_bytes(b"")
    pairing = parse_pairing(built(MASK), [f"mask={tmp_path}"], manifest=True)
    found = read(tmp_path, "image\na.png\n", MASK, paired=pairing.given_names)
    plan = plan_entries(found, output=tmp_path / "out", pairing=pairing)
    assert plan.items[0].pictures == (f"{tmp_path}/a.tiff",)


def test_two_pictures_for_one_image_are_refused(tmp_path: Path) -> None:
    found = read(tmp_path, "image,mask\na.png,x.png\na.png,y.png\n", MASK)
    with pytest.raises(UsageError, match="a.png with different second pictures"):
        plan_entries(found, output=tmp_path / "out", pairing=parse_pairing(built(MASK), [], manifest=True))


@pytest.mark.parametrize(
    ("text", "fields", "options", "said"),
    [
        ("image\na.png\n", [STYLE], {}, 'no header with the columns "image" and "style"; let its first line be image,'),
        ("style\nsketch\n", [STYLE], {}, "no header with the columns"),
        ("file\na.png\n", [], {}, 'no header with the column "image"'),
        ("image,style,style\na,sketch,sketch\n", [STYLE], {}, "several columns for style"),
        ("image,style\na.png,cubist\n", [STYLE], {}, "line 2: style is .cubist., which is not one of its 2 labels"),
        ("image,style\na.png,\n", [STYLE], {}, "line 2: style is ''"),
        ("image,sigma\na.png,76\n", [SIGMA], {}, "line 2: sigma is '76', expected a number from 0 to 75"),
        ("image,sigma\na.png,1\n", [SIGMA], {"assignments": ["sigma=2"]}, "sigma has a column .* by an option"),
        ("image,mask\na.png,m.png\n", [MASK], {"paired": ["mask"]}, "mask has a column .* by an option"),
        ("image\na.png\n", [MASK], {}, 'the columns "image" and "mask"'),
        ("image,mask\na.png,../m.png\n", [MASK], {}, "line 2: '../m.png' is not a path inside"),
        ("image,mask\na.png,/etc/passwd\n", [MASK], {}, "line 2: '/etc/passwd' is not a path inside"),
        ("image,mask\na.png,\n", [MASK], {}, "line 2: '' is not a path inside"),
    ],
)
def test_a_bad_csv_is_a_usage_error(
    tmp_path: Path, text: str, fields: list[ConditionFields], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        read(tmp_path, text, *fields, **options)


def test_an_index_gives_colors_alone(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text('[{"input_polygon": "a.png", "colour": "green"}]')
    found = read_manifest(tmp_path, built(COLOR, SIGMA), assignments=["sigma=3"])
    assert short(found) == [("a.png", "green,sigma=3")]
    with pytest.raises(UsageError, match="gives colors, and the model takes sigma .*; give a CSV"):
        read_manifest(tmp_path, built(SIGMA))
