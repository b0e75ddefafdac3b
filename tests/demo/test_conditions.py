"""The page of models that take other things than a color, and give other things than a picture of the image's size."""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.pixels import to_channels
from polyexport.model.loading.load import load_model
from polyexport.model.model import Model

Pixels = NDArray[np.uint8]
VersionOf = Callable[[str], Path]
OpenPage = Callable[..., Any]
Serve = Callable[..., str]


def shown(page: Any, selector: str) -> Pixels:
    """What a canvas holds, RGBA."""
    text = page.tab.evaluate("selector => document.querySelector(selector).toDataURL('image/png')", selector)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text.partition(",")[2]))).convert("RGBA"))


def saved_by(page: Any) -> tuple[str, str, Pixels]:
    """What Download saves: its name, its mode as pillow has it, and its pixels."""
    path = page.saved("#download")
    with Image.open(path) as image:
        return path.name, image.mode, np.asarray(image)


def drawing_of(page: Any) -> Pixels:
    return shown(page, "#drawing")[..., :3]


def made(page: Any, model: Model, conditions: dict[str, Any], **how: Any) -> Pixels:
    """What the model makes of the drawing on the page."""
    pixels = to_channels(np.ascontiguousarray(drawing_of(page)), model.contract.image_channels)
    [result] = model.apply([pixels], conditions, **how)
    return result


@pytest.fixture
def opened(version3_of: VersionOf, serve: Serve, open_page: OpenPage) -> Callable[[str], tuple[Any, Model]]:
    def go(kind: str) -> tuple[Any, Model]:
        return open_page(serve("--model", version3_of(kind))), load_model(version3_of(kind), provider="cpu")

    return go


Opened = Callable[[str], tuple[Any, Model]]


def test_a_model_of_an_image_alone_has_no_color_and_no_flood_fill(opened: Opened) -> None:
    page, model = opened("plain")
    assert page.tab.is_hidden("#plain")
    assert page.tab.is_hidden("#any-color")
    assert page.tab.is_hidden("#swatches")
    assert page.tab.is_hidden("#conditions")
    assert "outline" not in page.tab.inner_text("#headline")
    page.example(2)
    assert np.array_equal(shown(page, "#network"), to_channels(made(page, model, {}), 4))
    name, _, saved = saved_by(page)
    assert name == "result.png"
    assert np.array_equal(saved, made(page, model, {}))


def test_a_number_has_a_slider_within_its_bounds(opened: Opened) -> None:
    page, model = opened("number")
    slider, number = (
        page.tab.locator("#conditions input[type=range]"),
        page.tab.locator("#conditions input[name=sigma]"),
    )
    assert [slider.get_attribute(name) for name in ("min", "max", "step")] == ["0", "75", "1"]
    assert (slider.input_value(), number.input_value()) == ("25", "25")
    assert "levels" in page.tab.inner_text("#conditions")
    assert np.array_equal(shown(page, "#network")[..., :3], made(page, model, {"sigma": 25}))
    page.change(lambda: slider.fill("60"))
    assert number.input_value() == "60"
    assert np.array_equal(shown(page, "#network")[..., :3], made(page, model, {"sigma": 60}))
    page.change(lambda: number.fill("12.5"))
    assert np.array_equal(shown(page, "#network")[..., :3], made(page, model, {"sigma": 12.5}))
    number.fill("99")  # beyond its bounds: nothing is run
    page.tab.wait_for_timeout(200)
    assert page.tab.locator("input[name=sigma]:invalid").count() == 1
    assert np.array_equal(shown(page, "#network")[..., :3], made(page, model, {"sigma": 12.5}))


def test_labels_are_a_list_and_a_vector_is_a_text(opened: Opened) -> None:
    page, model = opened("label number")
    assert page.tab.locator("select[name=style] option").all_inner_texts() == ["sketch", "ukiyo-e", "van gogh"]
    page.change(lambda: page.tab.select_option("select[name=style]", "van gogh"))
    page.change(lambda: page.tab.fill("input[name=strength]", "0.25"))
    expected = made(page, model, {"style": "van gogh", "strength": 0.25})
    assert np.array_equal(shown(page, "#network")[..., :3], expected)

    page, model = opened("vector")
    field = page.tab.locator("input[name=code]")
    first = [float(part) for part in field.input_value().split(",")]  # that of the golden sample
    assert np.array_equal(shown(page, "#network")[..., :3], made(page, model, {"code": first}))
    page.change(lambda: field.fill("-9, 0.5, 2"))
    assert np.array_equal(shown(page, "#network")[..., :3], made(page, model, {"code": [-9, 0.5, 2]}))
    for wrong in ("1, 2", "1, 2, x", "1, 2, ", ""):
        field.fill(wrong)
        assert page.tab.locator("input[name=code]:invalid").count() == 1


def test_a_color_may_stand_beside_a_number(opened: Opened) -> None:
    page, model = opened("color")
    assert page.tab.is_visible("#plain")
    page.tab.fill("#color-text", "dodgerblue")
    page.change(lambda: page.tab.fill("input[name=sigma]", "40"))
    expected = made(page, model, {"color": "dodgerblue", "sigma": 40})
    assert np.array_equal(shown(page, "#network")[..., :3], expected)


def test_a_mask_is_painted_or_opened_and_has_the_drawings_size(opened: Opened, tmp_path: Path) -> None:
    page, model = opened("mask in")
    over = "canvas[data-condition=mask]"

    def mask() -> Pixels:
        return to_channels(np.ascontiguousarray(shown(page, over)[..., :3]), 1)

    assert mask().max() == 0
    assert np.array_equal(shown(page, "#network")[..., :3], drawing_of(page))
    box = page.tab.locator(over).bounding_box()

    def paint() -> None:
        page.tab.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
        page.tab.mouse.down()
        page.tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=5)
        page.tab.mouse.up()

    page.tab.locator("#width").fill("30")
    page.tab.locator(over).scroll_into_view_if_needed()
    box = page.tab.locator(over).bounding_box()
    page.change(paint)
    page.settle()
    assert 500 < (mask() == 255).sum() < mask().size / 2
    expected = made(page, model, {}, pictures={"mask": [mask()]})
    assert np.array_equal(shown(page, "#network")[..., :3], expected)
    assert expected.min() == 0

    page.example(2)  # of another size or not, the mask has the size of the drawing
    assert mask().shape[:2] == drawing_of(page).shape[:2]
    height, width = mask().shape[:2]
    (tmp_path / "half.png").write_bytes(encode_png(np.full((height // 2, width // 2, 3), 90, np.uint8)))
    page.change(lambda: page.tab.set_input_files(".second input[type=file]", tmp_path / "half.png"))
    assert (mask() == 90).all()
    (tmp_path / "wide.png").write_bytes(encode_png(np.full((10, 300, 3), 90, np.uint8)))
    page.tab.set_input_files(".second input[type=file]", tmp_path / "wide.png")
    page.tab.wait_for_selector(".second .note:not(:empty)")
    assert "300x10 pixels" in page.tab.inner_text(".second .note")
    page.change(lambda: page.tab.click(".second button"))
    assert mask().max() == 0


@pytest.mark.parametrize("kind", ["gray", "rgba", "x2", "half", "alpha", "batch one", "fixed"])
def test_every_kind_of_result_is_drawn_at_its_own_size(kind: str, opened: Opened) -> None:
    page, model = opened(kind)
    expected = made(page, model, {})
    assert np.array_equal(shown(page, "#network"), to_channels(expected, 4)) or kind in ("rgba", "alpha")
    _, mode, saved = saved_by(page)
    assert np.array_equal(saved.reshape(expected.shape), expected)
    assert mode == {1: "L", 3: "RGB", 4: "RGBA"}[expected.shape[2]]


def test_a_mask_is_shown_over_the_image_and_cuts_it_out(opened: Opened) -> None:
    page, model = opened("mask out")
    mask = made(page, model, {})
    view = "input[name=view][value='{}']"
    image, share = drawing_of(page).astype(float), 0.6 * mask / 255
    assert np.abs(shown(page, "#network")[..., :3] - (image + share * (np.array([229, 57, 53]) - image))).max() <= 1
    page.tab.check(view.format("Mask"), force=True)
    assert np.array_equal(shown(page, "#network"), to_channels(mask, 4))
    assert np.array_equal(saved_by(page)[2], mask[..., 0])
    page.tab.check(view.format("Cut out"), force=True)
    assert np.array_equal(saved_by(page)[2], made(page, model, {}, as_alpha=True))


def test_labels_have_colors_of_their_own(opened: Opened) -> None:
    page, model = opened("labels")
    labels, colors = made(page, model, {})[..., 0], shown(page, "#network")[..., :3]
    for label in np.unique(labels):
        assert len(np.unique(colors[labels == label], axis=0)) == 1
    assert len(np.unique(colors.reshape(-1, 3), axis=0)) > len(np.unique(labels)) / 2
    assert np.array_equal(saved_by(page)[2], labels)
