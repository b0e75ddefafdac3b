"""A model whose result is a fill: its canvas, and the edges that the ink of the drawing gives to its output."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from polyexport.imaging.pixels import Pixels
from polyexport.model.canvas import CanvasRule, Size
from polyexport.model.contract import Contract
from polyexport.model.edges import InkEdges
from polyexport.model.model import Model
from polyexport.model.result import ResultFields

FIT = CanvasRule(size=64, multiple=16, fill=True, square=False)
NATIVE = CanvasRule(mode="native", size=64, multiple=16, fill=True, square=False)
RED = (255, 0, 0)

CASES: dict[str, Any] = json.loads(Path(__file__).with_name("fill_cases.json").read_text())
"""One table of drawings and fills, which other implementations can be tested against as well."""


def square(side: int, *, width: int = 3, color: str = "black", paper: str = "white") -> Pixels:
    """An outline of a square in the middle of a page."""
    page = Image.new("RGB", (side, side), paper)
    ImageDraw.Draw(page).rectangle([side // 4, side // 4, side * 3 // 4, side * 3 // 4], outline=color, width=width)
    return np.asarray(page)


def network(pixels: Pixels, color: tuple[int, int, int]) -> Pixels:
    """A network that knows the square: color in its middle, soft at the edge."""
    coarse = np.full(pixels.shape, 255, np.uint8)
    rows, columns = (np.flatnonzero((pixels.min(axis=2) < 128).any(axis=axis)) for axis in (1, 0))
    coarse[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = color
    return np.asarray(Image.fromarray(coarse).reduce(2).resize(pixels.shape[1::-1], Image.Resampling.BILINEAR))


@pytest.mark.parametrize("side", [48, 64, 150, 500])
@pytest.mark.parametrize("rule", [FIT, NATIVE], ids=["fit", "native"])
def test_the_fill_ends_exactly_where_the_ink_ends(side: int, rule: CanvasRule) -> None:
    pixels = square(side, width=max(3, side // 20))
    canvas = rule.place(pixels)
    found = canvas.restore(network(canvas.pixels, RED), RED)
    wanted = np.full_like(pixels, 255)
    wanted[side // 4 : side * 3 // 4 + 1, side // 4 : side * 3 // 4 + 1] = RED
    assert np.array_equal(found, wanted)


def test_a_fill_is_placed_on_the_smallest_canvas_that_the_network_takes() -> None:
    assert FIT.place(square(40)).pixels.shape == (48, 48, 3)
    assert FIT.place(np.full((20, 90, 3), 255, np.uint8)).pixels.shape == (16, 64, 3)
    assert replace(FIT, square=True).place(square(40)).pixels.shape == (64, 64, 3)
    assert NATIVE.place(square(100)).pixels.shape == (112, 112, 3)


def test_light_lines_on_dark_paper_are_turned_over() -> None:
    pixels = square(64, color="white", paper="black")
    canvas = FIT.place(pixels)
    assert np.array_equal(canvas.pixels, 255 - pixels)
    light = FIT.place(square(64))
    assert np.array_equal(
        canvas.restore(network(canvas.pixels, RED), RED), light.restore(network(light.pixels, RED), RED)
    )


@pytest.mark.parametrize("paper", [(90, 200, 90), (255, 90, 90), (120, 130, 255), (200, 200, 200)])
def test_padding_continues_the_paper_and_a_shape_that_the_page_cuts(paper: tuple[int, int, int]) -> None:
    pixels = np.full((40, 50, 3), paper, np.uint8)
    pixels[10:30, 20:] = 0
    found = FIT.place(pixels).pixels
    assert np.array_equal(found[:40, :50], pixels)
    assert (found[40:] == paper).all()
    assert np.array_equal(found[:40, 50:], np.repeat(pixels[:, -1:], 14, axis=1))


def test_a_blank_page_stays_white_whatever_the_network_says() -> None:
    canvas = FIT.place(np.full((100, 120, 3), 255, np.uint8))
    assert (canvas.restore(np.full_like(canvas.pixels, 90), RED) == 255).all()


def test_without_a_known_color_the_output_is_the_network_s() -> None:
    canvas = FIT.place(square(64))
    output = network(canvas.pixels, RED)
    assert np.array_equal(canvas.restore(output), output)


def test_white_fills_are_white() -> None:
    canvas = FIT.place(square(64))
    assert (canvas.restore(canvas.pixels, (255, 255, 255)) == 255).all()


def test_large_ink_waits_packed() -> None:
    coverage = np.zeros((800, 700), np.uint8)
    coverage[100:110] = 255
    edges = InkEdges.of(coverage, 800, 700)
    assert edges.ink is not None
    assert len(edges.ink) < 5000
    output = np.full((80, 70, 3), 255, np.uint8)
    output[10] = RED
    again = InkEdges(edges.ink, 800, 700)  # as another process receives it
    found = again.draw(output, RED)
    assert np.array_equal(found, edges.draw(output, RED))
    assert (found[100:110] == RED).all()
    assert (found[:100] == 255).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**32 - 1), st.sampled_from([FIT, NATIVE]))
def test_any_picture_and_any_output_give_a_picture_of_its_size(
    height: int, width: int, seed: int, rule: CanvasRule
) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.choice(np.array([0, 40, 200, 255], np.uint8), (height, width, 3))
    canvas = rule.place(pixels)
    assert canvas.pixels.shape[0] % 16 == canvas.pixels.shape[1] % 16 == 0
    found = canvas.restore(rng.integers(0, 256, canvas.pixels.shape, np.uint8), (10, 200, 77))
    assert found.shape == (height, width, 3)
    assert found.flags.writeable


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: case["name"])
def test_the_table_of_cases(case: dict[str, Any]) -> None:
    pixels = np.array(case["drawing"], np.uint8).reshape(case["height"], case["width"])
    canvas = replace(FIT, size=CASES["size"]).place(np.repeat(pixels[..., None], 3, axis=2))
    assert [canvas.inner_height, canvas.inner_width] == case["inner"]
    assert hashlib.sha256(canvas.pixels.tobytes()).hexdigest() == case["canvas_sha256"]
    output = np.full_like(canvas.pixels, 255)
    output[: case["inner"][0], : case["inner"][1], 1:] = np.array(case["output"], np.uint8).reshape(*case["inner"], 1)
    fill = canvas.restore(output, RED)
    assert (fill[..., 0] == 255).all()
    assert fill[..., 1].ravel().tolist() == case["fill"]


@pytest.mark.parametrize("size", ["fit", "native"])
def test_a_model_of_fills_gives_one_flat_color_on_white(shipped: Model, size: Size) -> None:
    [[found]] = shipped.colorize([square(100)], ["#204060"], size=size)
    assert (found[26:75, 26:75] == (0x20, 0x40, 0x60)).all()
    assert (found[:25] == 255).all()


@pytest.mark.parametrize(("height", "width", "paper"), [(160, 160, 200), (120, 160, 255), (160, 100, 225)])
def test_pages_that_are_padded_are_filled_right(shipped: Model, height: int, width: int, paper: int) -> None:
    page = Image.new("L", (width, height), paper)
    ImageDraw.Draw(page).ellipse([30, 30, 130, 130], outline=0, width=4)
    truth = Image.new("L", (width, height), 255)
    ImageDraw.Draw(truth).ellipse([30, 30, 130, 130], fill=0)
    [[found]] = shipped.colorize([np.asarray(page.convert("RGB"))], [RED])
    assert (np.abs(found[..., 1].astype(int) - np.asarray(truth)) > 8).mean() < 0.01


def test_a_contract_says_what_the_result_is(tiny_model: Model) -> None:
    fill = replace(tiny_model.contract, result=ResultFields(kind="fill"))
    assert Contract.from_json(fill.to_json()) == fill
    assert fill.canvas_rule() == CanvasRule(
        size=fill.training_size, multiple=fill.size_multiple, fill=True, square=False
    )


def test_a_contract_without_the_entry_is_one_of_pictures(tiny_model: Model) -> None:
    text = tiny_model.contract.to_json()
    assert "result" not in json.loads(text)
    assert Contract.from_json(text).result.kind == "picture"
    assert Contract.from_json(text).to_json() == text


@pytest.mark.parametrize("value", ["painting", "", None, 1, ["fill"]])
def test_another_result_is_refused(tiny_model: Model, value: object) -> None:
    from polyexport.errors import ContractError

    with pytest.raises(ContractError, match="result"):
        Contract.from_json(json.dumps({**json.loads(tiny_model.contract.to_json()), "result": value}))


def test_a_model_of_pictures_loads_no_opencv(tiny_model_path: Path, drawings: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom polyexport import load_model\n"
        "load_model(Path(sys.argv[1]), provider='cpu').colorize([Path(sys.argv[2])], ['red'])\n"
        "assert 'cv2' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, tiny_model_path, drawings / "0.png"], check=True)


@settings(max_examples=20, deadline=None)
@given(st.tuples(*[st.integers(0, 255)] * 3), st.integers(0, 2**32 - 1))
def test_the_coverage_is_the_exact_quotient_so_that_every_processor_draws_the_same(
    color: tuple[int, int, int], seed: int
) -> None:
    page = square(64)
    output = np.random.default_rng(seed).integers(0, 256, page.shape, np.uint8)
    seen: list[Any] = []

    def capture(_regions: object, coarse: object, _coarse_ink: object) -> Any:
        seen.append(coarse)
        return np.zeros((64, 64), np.uint8)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polyexport.imaging.fill.fill_coverage", capture)
        NATIVE.place(page).restore(output, color)
    drop = [255 - level for level in color]
    scale = sum(level * level for level in drop)
    for coarse in seen:
        exact = (255 - output.astype(int)) @ np.array(drop) / scale
        assert np.array_equal(coarse, np.minimum(exact, 1).astype(np.float32))
    assert len(seen) == (scale > 0)


def test_the_condition_knows_the_color_of_a_fill(tiny_model: Model, vocabulary_model: Model) -> None:
    assert tiny_model.color_condition.fill_color("#010203") == (1, 2, 3)
    assert vocabulary_model.color_condition.fill_color("lime") == (0, 255, 0)
