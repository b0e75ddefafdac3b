"""The page's modules for the edges of a fill against the Python modules that do the same, to the same bytes."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from polyexport.data.drawings import draw
from polyexport.data.splits import SPLITS
from polyexport.imaging.fill import fill_coverage
from polyexport.imaging.ink import find_ink, page_is_dark
from polyexport.imaging.reduction import reduced
from polyexport.imaging.votes import find_regions

pytest.importorskip("lucide", reason="needs the drawings extra")

_SCRIPT = """async ({ pixels, size, coarse, coarseSize }) => {
  const { findInk, pageIsDark } = await import("./ink.mjs");
  const { fillCoverage, findRegions } = await import("./fill.mjs");
  const { Reduction } = await import("./reduction.mjs");
  const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const text = (values) => btoa(Array.from(values, (value) => String.fromCharCode(value)).join(""));
  const page = bytes(pixels);
  const ink = findInk(page, size);
  const reduction = new Reduction(ink, size, coarseSize);
  const found = { isDark: pageIsDark(page, size), small: text(reduction.of(page, 3)) };
  if (ink === null) return { ...found, ink: null, fill: null };
  const clear = reduction.of(ink.map((covered) => 255 - covered), 1);
  const coarseInk = Float32Array.from(clear, (level) => (255 - level) / 255);
  const given = new Float32Array(bytes(coarse).buffer);
  return { ...found, ink: text(ink), fill: text(fillCoverage(findRegions(ink, size), given, coarseInk, coarseSize)) };
}"""


_CASES_SCRIPT = """async ({ size, cases }) => {
  const { Canvas, canvasRule } = await import("./canvas.mjs");
  const result = { kind: "fill", scale: "1", channels: 3 };
  const sizes = { training_size: size, size_multiple: 16, smallest_size: 1, fixed_size: false };
  const rule = canvasRule({ contract_version: 2, ...sizes, image_channels: 3, result });
  const text = (values) => btoa(Array.from(values, (value) => String.fromCharCode(value)).join(""));
  return cases.map(({ drawing, width, height, inner, output }) => {
    const image = Uint8Array.from(drawing.flatMap((gray) => [gray, gray, gray]));
    const canvas = new Canvas(image, { width, height }, rule);
    const picture = new Uint8Array(canvas.pixels.length).fill(255);
    output.forEach((level, index) => {
      const at = 3 * (Math.floor(index / inner[1]) * canvas.width + (index % inner[1]));
      picture[at + 1] = picture[at + 2] = level;
    });
    return [text(canvas.pixels), text(canvas.restore(picture, [255, 0, 0], result).pixels)];
  });
}"""


def encoded(array: NDArray[Any]) -> str:
    return base64.b64encode(array.tobytes()).decode()


def decoded(text: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(shape)


def coarse_fill(rng: np.random.Generator, exact: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """A network's coverage: soft, unsure in places, and wrong in one patch."""
    soft = np.asarray(Image.fromarray(exact).resize(size[::-1], Image.Resampling.BOX)).copy()
    soft += rng.normal(0, 0.15, size).astype(np.float32) * (rng.random(size) < 0.3)
    y, x = rng.integers(0, size[0] - 8), rng.integers(0, size[1] - 8)
    soft[y : y + 8, x : x + 8] = 1 - soft[y : y + 8, x : x + 8]
    return soft.clip(0, 1)


def assert_same(tab: Any, pixels: NDArray[np.uint8], coarse: NDArray[np.float32]) -> None:
    """Compare every step on one picture, uint8 [H, W, 3], and one coverage, float32 [h, w]."""
    height, width = pixels.shape[:2]
    size = (coarse.shape[0], coarse.shape[1])
    found = tab.evaluate(
        _SCRIPT,
        {
            "pixels": encoded(pixels),
            "size": {"width": width, "height": height},
            "coarse": encoded(coarse),
            "coarseSize": {"width": size[1], "height": size[0]},
        },
    )
    assert found["isDark"] == page_is_dark(pixels)
    ink = find_ink(pixels)
    assert np.array_equal(decoded(found["small"], (*size, 3)), reduced(pixels, size, ink))
    assert (found["ink"] is None) == (ink is None)
    if ink is not None:
        assert np.array_equal(decoded(found["ink"], (height, width)), ink.coverage)
        clear = reduced(255 - ink.coverage, size, ink)
        coarse_ink = (255 - clear.astype(np.float32)) / np.float32(255)
        expected = fill_coverage(find_regions(ink), coarse, coarse_ink)
        assert np.array_equal(decoded(found["fill"], (height, width)), expected)


def test_the_table_of_cases_of_the_canvas_of_fills(tab: Any) -> None:
    table = json.loads((Path(__file__).parents[1] / "model" / "fill_cases.json").read_text())
    found = tab.evaluate(_CASES_SCRIPT, table)
    for case, (canvas, result) in zip(table["cases"], found, strict=True):
        assert hashlib.sha256(base64.b64decode(canvas)).hexdigest() == case["canvas_sha256"], case["name"]
        fill = decoded(result, (case["height"], case["width"], 3))
        assert (fill[..., 0] == 255).all()
        assert fill[..., 1].ravel().tolist() == case["fill"], case["name"]


@pytest.mark.parametrize("name", list(SPLITS))
def test_ink_reduction_and_fill_are_the_same_in_the_browser(tab: Any, name: str) -> None:
    rng = np.random.default_rng([7, list(SPLITS).index(name)])
    height, width = rng.integers(90, 200, 2).tolist()
    drawing = draw(rng, max(height, width), SPLITS[name].drawings)
    pixels = np.ascontiguousarray(drawing.image[:height, :width])
    if page_is_dark(pixels):
        pixels = 255 - pixels
    drop = 255 - np.array(drawing.color, np.float32)
    exact = ((255 - drawing.colored[:height, :width]) @ drop / (drop @ drop)).astype(np.float32)
    size = (round(height * 48 / max(height, width)), round(width * 48 / max(height, width)))
    coarse = coarse_fill(rng, exact, size)
    assert_same(tab, pixels, coarse)


def test_what_the_ink_encloses_is_filled_in_the_browser_too(tab: Any) -> None:
    y, x = np.mgrid[:96, :120]
    pixels = np.repeat(np.where(np.abs(np.hypot(y - 48, x - 60) - 30) < 2, 0, 255).astype(np.uint8)[..., None], 3, 2)
    outline = (255 - pixels[..., 0]) / np.float32(255)
    assert_same(tab, pixels, np.asarray(Image.fromarray(outline).resize((60, 48), Image.Resampling.BOX)))
    outline[:, 60:] = 0
    assert_same(tab, pixels, np.asarray(Image.fromarray(outline).resize((60, 48), Image.Resampling.BOX)))
