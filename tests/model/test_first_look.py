"""The first look: most drawings are settled on a small canvas, and all others get the network's full one."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from polyexport.imaging.pixels import Pixels
from polyexport.model.contract import Contract
from polyexport.model.model import Model
from polyexport.model.placed_run import first_looks, run_placed
from polyexport.model.result import ResultFields
from polyexport.model.settings import Setting, setting_from

ORANGE = (255, 136, 0)


def drawing(side: int = 192, *, gap: bool = False, page: str = "white", ink: str = "black") -> Pixels:
    """An outline of a circle with a smaller one in it, whose outer line may have a gap."""
    image = Image.new("RGB", (side, side), page)
    draw = ImageDraw.Draw(image)
    box = [side * 0.15, side * 0.15, side * 0.8, side * 0.8]
    draw.arc(box, 8 if gap else 0, 352 if gap else 360, fill=ink, width=max(2, side // 40))
    draw.ellipse([side * 0.4, side * 0.3, side * 0.5, side * 0.4], outline=ink, width=max(1, side // 60))
    return np.asarray(image)


def setting_of(model: Model, color: str = "#ff8800") -> Setting:
    return setting_from(model.conditions, {"color": color})


def shapes_of_calls(model: Model, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of the images of all calls from now on."""
    shapes: list[tuple[int, ...]] = []
    run = type(model.session).run_all

    def watched(session: Any, names: Any, feeds: Any) -> Any:
        shapes.append(feeds["image"].shape)
        return run(session, names, feeds)

    monkeypatch.setattr(type(model.session), "run_all", watched)
    return shapes


@pytest.mark.parametrize("side", [128, 160, 192, 300, 700])
@pytest.mark.parametrize(("page", "ink"), [("white", "black"), ("#202020", "#e0e0ff"), ("#e8e4d8", "#205080")])
def test_a_drawing_without_gaps_is_settled_by_a_ninth_of_the_work_and_comes_out_the_same(
    shipped: Model, side: int, page: str, ink: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, size = drawing(side, page=page, ink=ink), shipped.contract.training_size
    [[whole]] = shipped.colorize([image], [ORANGE], size=size)
    shapes = shapes_of_calls(shipped, monkeypatch)
    [[found]] = shipped.colorize([image], [ORANGE])
    assert shapes == [(1, 64, 64, 3)]
    assert np.array_equal(found, whole)


@pytest.mark.parametrize("inner", [True, False])
def test_an_outline_with_a_gap_is_looked_at_twice_if_ink_encloses_something_else(
    shipped: Model, inner: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = drawing(gap=True).copy()
    if inner:
        image[80:120, [80, 119]] = image[[80, 119], 80:120] = 0
    [[whole]] = shipped.colorize([image], [ORANGE], size=192)
    shapes = shapes_of_calls(shipped, monkeypatch)
    [[found]] = shipped.colorize([image], [ORANGE])
    assert shapes == [(1, 64, 64, 3)] * inner + [(1, 192, 192, 3)]
    assert np.array_equal(found, whole)


def test_each_image_of_a_batch_is_settled_by_itself(shipped: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = shipped.contract.canvas_rule()
    images = [drawing(), drawing(gap=True), np.full((192, 192, 3), 255, np.uint8), drawing()]
    canvases = [rule.place(image) for image in images]
    settings = [setting_of(shipped, color) for color in ("red", "blue", "red", "#010203")]
    shapes = shapes_of_calls(shipped, monkeypatch)
    outputs = shipped.run_canvases(canvases, settings)
    assert shapes == [(2, 64, 64, 3), (2, 192, 192, 3)]  # the gap and the blank page leave nothing to settle
    for canvas, output, setting, image in zip(canvases, outputs, settings, images, strict=True):
        [[alone]] = shipped.colorize([image], [shipped.fill_color(setting)])  # type: ignore[list-item]
        assert np.array_equal(shipped.finish(canvas, output, setting), alone)


@pytest.mark.parametrize("size", [192, 128, 64, "native"])
def test_a_size_that_is_asked_for_is_the_only_one(shipped: Model, size: Any) -> None:
    assert shipped.contract.canvas_rule(size).first_look == 0
    assert shipped.contract.canvas_rule(size).place(drawing()).first_look is None


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(64, 64, None), (60, 128, None), (128, 128, (64, 64)), (100, 190, (64, 64)), (1000, 300, (64, 64))],
)
def test_the_first_look_is_taken_where_it_saves_half(
    shipped: Model, height: int, width: int, expected: tuple[int, int] | None
) -> None:
    page = np.full((height, width, 3), 255, np.uint8)
    page[height // 4 : height // 2, width // 4 : width // 2] = 0
    look = shipped.contract.canvas_rule().place(page).first_look
    assert (None if look is None else look.pixels.shape[:2]) == expected


def test_large_drawings_are_run_at_once(shipped: Model) -> None:
    page = np.full((1100, 1000, 3), 255, np.uint8)
    page[200:300, 200:300] = 0
    assert shipped.contract.canvas_rule().place(page).first_look is None


@pytest.mark.parametrize(
    ("training_size", "multiple", "expected"), [(192, 64, 64), (256, 16, 96), (128, 16, 64), (96, 16, 0), (64, 16, 0)]
)
def test_a_fill_says_how_small_its_first_look_is(
    tiny_model: Model, training_size: int, multiple: int, expected: int
) -> None:
    contract = replace(tiny_model.contract, training_size=training_size, size_multiple=multiple)
    assert contract.canvas_rule("fit").first_look == 0  # of a picture
    fill = replace(contract, result=ResultFields(kind="fill"))
    assert fill.canvas_rule("fit").first_look == expected
    assert replace(fill, fixed_size=True).canvas_rule("fit").first_look == 0


def test_no_first_look_is_run_where_each_shape_is_compiled(shipped: Model) -> None:
    class Compiling:
        contract: Contract = shipped.contract
        conditions = shipped.conditions

        class session:  # noqa: N801
            stable_shapes = True

        def run_rows(self, canvases: Any, rows: Any) -> Any:
            return shipped.run_rows(canvases, rows)

    canvas = shipped.contract.canvas_rule().place(drawing())
    rows = [shipped.rows_of(setting_of(shipped))]
    assert first_looks(Compiling(), [canvas], rows, [ORANGE]) == {}  # type: ignore[arg-type]
    [output] = run_placed(Compiling(), [canvas], rows, [ORANGE])  # type: ignore[arg-type]
    assert output.shape == (192, 192, 3)


def test_every_color_of_a_drawing_is_settled(shipped: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    colors = [ORANGE, (10, 20, 30), (255, 255, 255), (0, 255, 0)]
    whole = shipped.colorize([drawing()], colors, size=192)
    shapes = shapes_of_calls(shipped, monkeypatch)
    found = shipped.colorize([drawing()], colors)
    assert shapes == [(4, 64, 64, 3)]
    assert all(np.array_equal(*pair) for pair in zip(found[0], whole[0], strict=True))
    assert [tuple(one[96, 60]) for one in found[0]] == colors
