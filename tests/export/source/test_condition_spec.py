from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from polyexport.errors import UsageError
from polyexport.export.source.condition_spec import ConditionSpec, parse_condition, read_condition
from polyexport.model.conditions.fields import ImageFields, LabelFields, NumberFields, VectorFields


def test_conditions_as_text() -> None:
    for text, fields, form in (
        ("sigma=number:range=0..75", NumberFields(name="sigma", minimum=0, maximum=75), "[B]"),
        (
            "s=number:range=0..1,default=1/4,unit=dB,as=[B,1,1,1]",
            NumberFields(name="s", minimum=0, maximum=1, default=0.25, unit="dB"),
            "[B,1,1,1]",
        ),
        (
            "style=label:labels=a|b c,default=a,as=plane",
            LabelFields(name="style", labels=("a", "b c"), default="a"),
            "planes",
        ),
        ("z=vector:dim=2,default=0.5|-1", VectorFields(name="z", dim=2, default=(0.5, -1.0)), "[B,D]"),
        ("z=vector:dim=3,default=0", VectorFields(name="z", dim=3, default=(0.0, 0.0, 0.0)), "[B,D]"),
        ("mask=image:as=channels", ImageFields(name="mask", channels=1), "channels"),
        ("c=color:argument=2,as=one-hot", None, "one-hot"),
    ):
        spec = parse_condition(text)
        assert (spec.fields(), spec.as_form) == (fields, form)


def test_labels_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "styles.txt").write_text("sketch\n\n ink \n")
    found = read_condition({"name": "style", "kind": "label", "labels": "@styles.txt"}, tmp_path)
    assert found.labels == ("sketch", "ink")
    with pytest.raises(UsageError, match="none.txt cannot be read"):
        read_condition({"name": "style", "kind": "label", "labels": "@none.txt"}, tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sigma", "is not a condition; give NAME=KIND"),
        ("sigma=count", "of kind 'count'; give color, label, number, vector, image"),
        ("sigma=number", "the range of sigma is missing; give it, such as"),
        ("sigma=number:range", "is not key=value"),
        ("sigma=number:range=0..1,range=0..2", "has 'range' twice"),
        ("sigma=number:labels=a", "a condition of kind number has no 'labels'"),
        ("sigma=number:range=0..1,default=2", "is not from 0.0 to 1.0"),
        ("sigma=number:range=0..1,scale=1/0", "scale of sigma is '1/0'"),
        ("style=label", "the labels of style are missing"),
        ("z=vector", "the number of values of z is missing"),
        ("z=vector:dim=2,default=1|2|3", "has 3 values, expected 2"),
        ("mask=image:channels=2", "must have 1, 3 or 4 channels"),
        ("mask=image:as=one-hot", "the image mask cannot be given as 'one-hot'"),
        ("mask=image:as=channels,argument=1", "has an argument of its own too"),
        ("image=image", "a condition's name must be"),
    ],
)
def test_what_is_no_condition(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("[", r"\[")) as caught:
        parse_condition(text)
    assert len(str(caught.value).splitlines()) == 1


@given(
    st.text("ab=:,|.0123/[]-@ \nnumberlabvcimgo", max_size=40)
    | st.text(max_size=20).map(lambda text: f"a=label:labels={text}")
)
@example("a=label:\x1e0")  # a separator of lines, to str.splitlines
def test_any_text_as_a_condition(text: str) -> None:
    try:
        assert isinstance(parse_condition(text), ConditionSpec)
    except UsageError as error:
        assert len(str(error).splitlines()) == 1
