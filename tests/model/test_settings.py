from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyexport.errors import ColorError, UsageError
from polyexport.model.conditions import condition_of
from polyexport.model.conditions.condition import Condition
from polyexport.model.conditions.fields import ColorFields, ImageFields, LabelFields, NumberFields
from polyexport.model.settings import NO_SETTING, Setting, parse_settings, setting_from

COLOR = condition_of(ColorFields(conditioning="rgb"))
STYLE = condition_of(LabelFields(name="style", labels=("ukiyo-e", "pop art")))
SIGMA = condition_of(NumberFields(name="sigma", minimum=0, maximum=75, default=25))
MASK = condition_of(ImageFields(name="mask", channels=1))


def folders(settings: list[Setting]) -> list[str]:
    return [setting.folder for setting in settings]


def test_colors_name_their_folders_and_count_once() -> None:
    found = parse_settings([COLOR], colors=["red", "#1e90ff", "RED"])
    assert folders(found) == ["red", "1e90ff"]
    assert found[0].values[0].rgb == (255, 0, 0)
    assert parse_settings([COLOR], assignments=["color=red"]) == found[:1]


def test_a_model_without_conditions_has_one_setting_and_no_folder() -> None:
    assert parse_settings([]) == parse_settings([MASK]) == [NO_SETTING]


def test_names_that_stand_several_times_are_swept_and_defaults_fill_the_rest() -> None:
    found = parse_settings([STYLE, SIGMA, MASK], assignments=["sigma=5", "style=pop art", "sigma=10"])
    assert folders(found) == ["pop art,sigma=5", "pop art,sigma=10"]
    assert [setting.values for setting in found] == [("pop art", 5.0), ("pop art", 10.0)]
    assert folders(parse_settings([STYLE, SIGMA], assignments=["style=ukiyo-e"])) == ["ukiyo-e,sigma=25"]
    assert setting_from([STYLE, SIGMA], {"style": 1}).values == ("pop art", 25.0)


@pytest.mark.parametrize(
    ("conditions", "colors", "assignments", "said"),
    [
        ([COLOR], [], [], r"no color was given; the model takes color \(any\); give --color '#ff8800'"),
        ([STYLE], [], [], r"no style was given; .*give --set style=ukiyo-e"),
        ([SIGMA], ["red"], [], "the model takes no color, got 'red'; it takes sigma .*give --set sigma=25"),
        ([], ["red"], [], "the model takes no color, got 'red'; it takes an image alone; leave conditions out"),
        ([SIGMA], [], ["noise=3"], r"the model has no condition 'noise'; it takes sigma \(a number, 0 to 75"),
        ([SIGMA], [], ["sigma"], "'sigma' is not NAME=VALUE"),
        ([SIGMA], [], ["=3"], "'=3' is not NAME=VALUE"),
        ([SIGMA], [], ["sigma=99"], "sigma is '99', expected a number from 0 to 75; the model takes sigma"),
        ([COLOR], ["red"], ["color=blue"], "color is given by --color and by --set"),
        ([MASK], [], ["mask=a.png"], "mask is a picture, got 'a.png'; give .* --with mask=DIR"),
        ([SIGMA], [], [f"sigma={i / 100}" for i in range(5000)], "5000 combinations of conditions, more than 4096"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    conditions: list[Condition[Any]], colors: list[str], assignments: list[str], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        parse_settings(conditions, colors=colors, assignments=assignments)


def test_a_text_that_is_no_color_stays_an_error_of_colors() -> None:
    with pytest.raises(ColorError, match="unknown color 'no color'"):
        parse_settings([COLOR], colors=["no color"])


@given(st.lists(st.text()))
def test_no_assignment_gets_past_as_another_error(texts: list[str]) -> None:
    try:
        found = parse_settings([STYLE, SIGMA], assignments=texts)
    except UsageError:
        return
    assert all("/" not in setting.folder for setting in found)
