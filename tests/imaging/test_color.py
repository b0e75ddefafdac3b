import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyexport.errors import ColorError
from polyexport.imaging.color import Color, color_of, parse_color

channel = st.integers(0, 255)


@pytest.mark.parametrize(
    ("text", "rgb"),
    [
        ("red", (255, 0, 0)),
        (" Red ", (255, 0, 0)),
        ("green", (0, 128, 0)),
        ("lime", (0, 255, 0)),
        ("rebeccapurple", (102, 51, 153)),
        ("#f80", (255, 136, 0)),
        ("#FF8800", (255, 136, 0)),
        ("ff8800", (255, 136, 0)),
        ("rgb(255, 136, 0)", (255, 136, 0)),
        ("rgb(255 136 0)", (255, 136, 0)),
        ("rgb(100%, 0%, 20%)", (255, 0, 51)),
        ("hsl(32, 100%, 50%)", (255, 136, 0)),
        ("hsl(32deg 100% 50%)", (255, 136, 0)),
    ],
)
def test_reads_what_css_reads(text: str, rgb: tuple[int, int, int]) -> None:
    assert parse_color(text).rgb == rgb


@pytest.mark.parametrize(("text", "near"), [("gren", "green"), ("tomatoe", "tomato"), ("ornage", "orange")])
def test_names_the_nearest(text: str, near: str) -> None:
    with pytest.raises(ColorError, match=near):
        parse_color(text)


@pytest.mark.parametrize(
    "text", ["", "rgb(256,0,0)", "rgb(1,2)", "#ff88", "#ff880080", "hsl(1,2,3)", "../x", "x" * 9999]
)
def test_refuses_anything_else_in_one_short_line(text: str) -> None:
    with pytest.raises(ColorError) as caught:
        parse_color(text)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


@given(channel, channel, channel)
def test_every_rgb_value_comes_back(red: int, green: int, blue: int) -> None:
    text = f"rgb({red}, {green}, {blue})"
    color = parse_color(text)

    assert color.rgb == (red, green, blue)
    assert parse_color(color.name) == color
    assert color_of((red, green, blue)) == color


@given(st.text(max_size=40))
def test_any_text_is_a_color_with_a_safe_name_or_a_color_error(text: str) -> None:
    try:
        color = parse_color(text)
    except ColorError:
        return
    assert re.fullmatch("[a-z0-9]+", color.name)


@pytest.mark.parametrize("value", [(1, 2), (0.9, 0.5, 0.1), b"abc", (1, 2, 300), (-1, 0, 0), 7, None, ("a", "b", "c")])
def test_refuses_values_that_are_no_color(value: object) -> None:
    with pytest.raises(ColorError):
        color_of(value)  # type: ignore[arg-type]


def test_a_color_holds_three_channels_of_8_bits() -> None:
    with pytest.raises(ValueError, match="0 to 255"):
        Color("red", (0, 0, 256))
