import random
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageDraw

from polyexport.imaging.pixels import Pixels, decode
from polyexport.pipeline import contact_sheet
from polyexport.pipeline.contact_sheet import MAX_OUTPUTS, THUMBNAIL_SIZE, ContactSheet


def flat(value: tuple[int, ...], height: int = 20, width: int = 30) -> Pixels:
    return np.full((height, width, len(value)), value, np.uint8)


def sheet_of(indexes: list[int], max_images: int = 4, threads: int = 0) -> ContactSheet:
    sheet = ContactSheet(max_images)

    def add(index: int) -> None:
        gray = 10 + index * 7 % 240
        sheet.add(
            index, f"drawing {index}", flat((gray, 0, 0)), [("red", flat((0, gray, 0))), ("x", flat((0, 0, gray)))]
        )

    if threads:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(add, indexes))
    else:
        for index in indexes:
            add(index)
    return sheet


def colors(sheet: Pixels) -> set[tuple[int, ...]]:
    return set(map(tuple, np.unique(sheet.reshape(-1, 3), axis=0).tolist()))


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts on the sheets of a test."""
    texts: list[str] = []
    real = ImageDraw.ImageDraw.text

    def text(pen: ImageDraw.ImageDraw, xy: tuple[float, float], text: str, *args: Any, **options: Any) -> None:
        texts.append(text)
        real(pen, xy, text, *args, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    return texts


def test_it_shows_each_input_beside_its_outputs_in_the_order_of_the_run(written: list[str]) -> None:
    sheet = sheet_of([1, 0]).render()
    assert written == [*("input", "red", "x", "drawing 0"), *("input", "red", "x", "drawing 1")]
    places = [np.argwhere((sheet == color).all(axis=2)).min(axis=0) for color in ((10, 0, 0), (0, 10, 0), (0, 0, 10))]
    later = np.argwhere((sheet == (17, 0, 0)).all(axis=2)).min(axis=0)
    assert {place[0] for place in [*places, later]} == {places[0][0]}
    assert places[0][1] < places[1][1] < places[2][1] < later[1]
    assert places[2][1] - places[1][1] == places[1][1] - places[0][1] >= THUMBNAIL_SIZE
    assert ((sheet == (10, 0, 0)).all(axis=2)).sum() == 20 * 30


@given(st.permutations(range(9)))
@settings(max_examples=10, deadline=None)
def test_the_order_of_adding_does_not_matter(order: list[int]) -> None:
    assert np.array_equal(sheet_of(order).render(), sheet_of(list(range(9))).render())


def test_threads_do_not_matter() -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        order = random.Random(0).sample(range(200), 200)
        assert np.array_equal(sheet_of(order, threads=8).render(), sheet_of(list(range(200))).render())
    finally:
        sys.setswitchinterval(interval)


def test_a_header_counts_what_is_not_shown(written: list[str]) -> None:
    sheet = sheet_of(list(range(5000)))
    shown = sheet.render()
    assert written[0] == "4 of 5,000 shown"
    assert [text for text in written if "drawing" in text] == [f"drawing {number}" for number in range(4)]
    assert shown.shape[0] == sheet_of(list(range(4))).render().shape[0] + 34
    some = ContactSheet(total=7)
    some.add(3, "a", flat((1, 2, 3)), [])
    some.render()
    assert "1 of 7 shown" in written


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Pixels] = []
    real = contact_sheet._thumbnail

    def thumbnail(pixels: Pixels) -> Pixels:
        made.append(real(pixels))
        return made[-1]

    monkeypatch.setattr(contact_sheet, "_thumbnail", thumbnail)
    sheet = ContactSheet(3)
    for index in range(50):
        sheet.add(index, "x", flat((9, 9, 9), 900, 700), [("y", flat((9, 9, 9, 9), 300, 400))] * 20)
    assert len(made) == 3 * (1 + MAX_OUTPUTS)
    assert all(max(one.shape) <= THUMBNAIL_SIZE and one.base is None for one in made)


def test_transparency_is_shown_over_a_checkerboard() -> None:
    sheet = ContactSheet()
    sheet.add(0, "x", flat((200, 0, 0)), [("y", flat((0, 0, 200, 0)))])
    assert {(204, 204, 204), (255, 255, 255), (200, 0, 0)} <= colors(sheet.render())
    assert (0, 0, 200) not in colors(sheet.render())
    opaque = ContactSheet()
    opaque.add(0, "x", flat((200, 0, 0)), [("y", flat((0, 0, 200, 255)))])
    assert (204, 204, 204) not in colors(opaque.render())
    assert (0, 0, 200) in colors(opaque.render())


def test_names_are_escaped_and_shortened_in_the_middle(written: list[str]) -> None:
    sheet = ContactSheet()
    names = ["new\nline\x1b.png", "日本 \N{ARTIST PALETTE}.png", "\udcff.png", "", "begin" + "x" * 4000 + "0123.png"]
    for index, name in enumerate(names):
        sheet.add(index, name, flat((0, 0, 0)), [("label " * 50, flat((0, 0, 0)))])
    sheet.render()
    assert {r"new\nline\x1b.png", r"\u65e5\u672c \U0001f3a8.png", r"\udcff.png"} <= set(written)
    assert written[-1].startswith("begin")
    assert "..." in written[-1]
    assert written[-1].endswith("0123.png")
    assert all(len(text) < 60 for text in written)


def test_outputs_beyond_the_limit_are_counted(written: list[str]) -> None:
    sheet = ContactSheet()
    sheet.add(0, "x", flat((0, 0, 0)), [(str(number), flat((0, 0, 0))) for number in range(MAX_OUTPUTS + 3)])
    sheet.render()
    assert written == ["input", *map(str, range(MAX_OUTPUTS)), "x  +3 more"]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 20_000), (20_000, 1), (128, 128), (129, 127)])
def test_any_size_of_image(height: int, width: int) -> None:
    sheet = ContactSheet()
    sheet.add(0, "x", flat((7, 8, 9), height, width), [("y", flat((9, 8, 7, 255), height, width))])
    assert {(7, 8, 9), (9, 8, 7)} <= colors(sheet.render())


def test_an_empty_sheet_and_its_bytes(written: list[str]) -> None:
    sheet = ContactSheet()
    assert np.array_equal(decode(sheet.to_png()).pixels, sheet.render())
    assert set(written) == {"no images"}
    for wrong in (0, 1001):
        with pytest.raises(ValueError, match="max_images"):
            ContactSheet(wrong)
