"""Tiles of the page: where they lie, and results of its worker beside those of Python."""

import base64
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from local_images import SIGMA, image_and_mask, whole_png
from version3_models import LOCAL_KINDS, version3_bytes

from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.pixels import decode, to_channels
from polyexport.model.file import peek_contract
from polyexport.model.loading.load import load_model
from polyexport.model.locality import Locality
from polyexport.model.tiles import TileRule, spans

TABLE = json.loads((Path(__file__).parents[1] / "model" / "canvas_cases.json").read_text())
SEAMS = [case for case in TABLE["tiled_images"] if not case["blended"]]
_OF_TEXT = "const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));"

# The operation of the table, on one tile.
_MEAN = """
const mean = ([pixels], height, width, radius, [up, down]) => {
  const kept = side => Math.ceil(side / down) * up;
  const result = new Uint8Array(3 * kept(height) * kept(width));
  const clamped = (value, most) => Math.min(Math.max(value, 0), most - 1);
  for (let index = 0; index < result.length; index += 1) {
    const at = Math.floor(index / 3);
    const [y, x] = [Math.floor(at / kept(width)), at % kept(width)].map(place => Math.floor(place / up) * down);
    let sum = 0;
    for (let row = y - radius; row <= y + radius; row += 1) {
      for (let column = x - radius; column <= x + radius; column += 1) {
        sum += pixels[3 * (clamped(row, height) * width + clamped(column, width)) + (index % 3)];
      }
    }
    result[index] = Math.floor(sum / (2 * radius + 1) ** 2);
  }
  return result;
};
"""


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def spans_of_page(tab: Any, axes: list[tuple[int, dict[str, Any]]]) -> Any:
    return tab.evaluate(
        "async axes => { const { spans } = await import('./tiles.mjs');"
        " return axes.map(([length, rule]) => spans(length, rule)"
        ".map(({ start, stop, first, last }) => [start, stop, first, last])); }",
        axes,
    )


def test_the_table_of_tiles(tab: Any) -> None:
    cases = TABLE["tiles"]
    found = spans_of_page(tab, [(case["length"], case) for case in cases])
    assert found == [case["spans"] for case in cases]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 60), st.integers(0, 4), st.integers(1, 8), st.sampled_from((1, 2, 3, 16)))
def test_spans_are_those_of_python(tab: Any, length: int, overlap: int, core: int, multiple: int) -> None:
    rule = TileRule(side=(overlap + core) * multiple, overlap=overlap * multiple, multiple=multiple)
    [found] = spans_of_page(tab, [(length * multiple, asdict(rule))])
    assert found == [[one.start, one.stop, one.first, one.last] for one in spans(length * multiple, rule)]


def test_the_table_of_images_in_tiles(tab: Any) -> None:
    found = tab.evaluate(
        f"async cases => {{ {_MEAN}"
        " const { Canvas } = await import('./canvas.mjs');"
        " const { cuts, tiledOutput } = await import('./tiles.mjs');"
        " const one = async ({ height, width, multiple, side, overlap, radius, scale }) => {"
        " const place = index => [Math.floor(index / 3 / width), Math.floor(index / 3) % width, index % 3];"
        " const image = Uint8Array.from({ length: 3 * height * width }, (_, index) => {"
        " const [y, x, c] = place(index); return (7 * y + 13 * x + 31 * c) % 256; });"
        " const rule = { mode: 'native', size: multiple, width: 0, multiple, smallest: 1, fill: false, square: false,"
        " white: false, channels: 3, tiles: { side, overlap, multiple, above: 0 } };"
        " const canvas = new Canvas(image, { height, width }, rule);"
        " if (!cuts(rule.tiles, canvas.height, canvas.width)) throw new Error('not cut');"
        " const result = { kind: 'picture', scale, channels: 3 };"
        " const [up, down = 1] = scale.split('/').map(Number);"
        " const run = async (tiles, rows, columns) => mean(tiles, rows, columns, radius, [up, down]);"
        " const planes = [{ pixels: canvas.pixels, channels: 3 }];"
        " const output = await tiledOutput(planes, canvas, rule.tiles, run, result);"
        " const digest = await crypto.subtle.digest('SHA-256', canvas.restore(output, [0, 0, 0], result).pixels);"
        " return [...new Uint8Array(digest)].map(byte => byte.toString(16).padStart(2, '0')).join(''); };"
        " return Promise.all(cases.map(one)); }",
        SEAMS,
    )
    assert {case["scale"] for case in SEAMS} == {"1", "2", "1/2"}
    assert found == [case["result_sha256"] for case in SEAMS]


def rule_of_page(tab: Any, model: bytes) -> Any:
    """The page's rule for the canvases of a model; its message if it refuses it."""
    return tab.evaluate(
        f"async text => {{ {_OF_TEXT} const {{ readContract, Refused }} = await import('./contract.mjs');"
        " const { canvasRule } = await import('./canvas.mjs');"
        " try { return canvasRule(await readContract(bytes(text))); }"
        " catch (error) { if (error instanceof Refused) return error.message; throw error; } }",
        encoded(model),
    )


@pytest.mark.parametrize(
    ("reach", "bytes_per_pixel"), [(0, 0), (2, 0), (2, 400), (33, 100), (100, 2048), (600, 5000), (2, 2**40), (5, 1)]
)
def test_tiles_are_chosen_as_in_python_with_the_memory_of_a_tab(
    reach: int, bytes_per_pixel: int, tab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polyexport.model.tile_choice.granted_memory", lambda: 4 << 30)
    locality = Locality(kind="local", reach=reach, bytes_per_pixel=bytes_per_pixel)
    path = tmp_path / "model.onnx"
    path.write_bytes(version3_bytes("local", locality=locality))
    expected = asdict(peek_contract(path).canvas_rule())
    del expected["keep_original"], expected["first_look"], expected["tiles"]["exact"], expected["tiles"]["blended"]
    assert rule_of_page(tab, path.read_bytes()) == expected


@pytest.mark.parametrize(
    "locality",
    [
        None,
        Locality(kind="global"),
        Locality(kind="global", nodes=("GlobalAveragePool pool",) * 8, bytes_per_pixel=7),
    ],
)
def test_networks_that_are_not_local_are_not_cut(locality: Locality | None, tab: Any) -> None:
    assert rule_of_page(tab, version3_bytes("plain", locality=locality))["tiles"] is None


def test_a_locality_that_cannot_be_is_refused(tab: Any) -> None:
    good = asdict(Locality(kind="local", reach=4096, tiled_max_diff=255, tiled_values=9, bytes_per_pixel=2**40))
    wrong: list[dict[str, Any]] = [
        {"kind": "near"},
        {"kind": None},
        {"kind": "global"},  # with a reach
        {"reach": 4097},
        {"reach": -1},
        {"reach": 1.5},
        {"reach": "2"},
        {"reach": None},
        {"nodes": ["Softmax attention"]},
        {"nodes": "none"},
        {"kind": "global", "reach": 0, "nodes": ["a"] * 9},
        {"kind": "global", "reach": 0, "nodes": [1]},
        {"tiled_max_diff": 256},
        {"tiled_max_diff": -1},
        {"tiled_values": -1},
        {"tiled_values": True},
        {"bytes_per_pixel": -1},
        {"bytes_per_pixel": 0.5},
        {"bytes_per_pixel": "1"},
    ]
    found = tab.evaluate(
        "async localities => { const { isLocality } = await import('./contract.mjs');"
        " return localities.map(isLocality); }",
        [good, {"kind": "local"}, {"kind": "global"}, *(good | change for change in wrong), 5, "local", []],
    )
    assert found == [True] * 3 + [False] * (len(wrong) + 3)
    model = version3_bytes("local")
    text = peek_text(model)
    assert rule_of_page(tab, model)["tiles"]["side"] == 72
    changed = model.replace(text, text.replace(b'"reach": 2', b'"reach":-2'))
    assert changed != model
    assert rule_of_page(tab, changed) == "The model is refused: its contract is incomplete"


def peek_text(model: bytes) -> bytes:
    start = model.index(b'"locality": {')
    return model[start : model.index(b"}", start)]


_WORKER = f"""async ([image, mask, width, height, sigma]) => {{ {_OF_TEXT}
  const worker = new Worker(new URL("worker.mjs", document.baseURI), {{ type: "module" }});
  const answered = kind => new Promise((resolve, reject) => {{
    worker.onmessage = ({{ data }}) => {{
      if (data.type === kind) resolve(data);
      if (data.type === "failed") reject(new Error(data.message));
    }};
  }});
  const loaded = answered("loaded");
  const url = new URL("model.onnx", document.baseURI).href;
  worker.postMessage({{ type: "load", url, provider: "wasm", threads: 1 }});
  await loaded;
  const made = answered("result");
  const values = [sigma, bytes(mask)];
  worker.postMessage({{ type: "run", image: bytes(image), width, height, values, rgb: [0, 0, 0] }});
  const {{ pixels, ...size }} = await made;
  worker.terminate();
  return [size.height, size.width, size.channels, [...pixels]];
}}"""


@pytest.mark.parametrize("kind", LOCAL_KINDS)
def test_a_large_image_gives_the_bytes_of_the_whole(
    kind: str, version3_of: Callable[[str], Path], serve: Callable[..., str], browser: Any, tmp_path: Path
) -> None:
    image, mask = image_and_mask(tmp_path)
    pixels, second = (decode(path.read_bytes(), channels=3).pixels for path in (image, mask))
    page = browser.new_page()
    page.goto(serve("--model", version3_of(kind)))
    *shape, values = page.evaluate(
        _WORKER, [encoded(pixels.tobytes()), encoded(second.tobytes()), pixels.shape[1], pixels.shape[0], SIGMA]
    )
    page.close()
    assert second.shape == pixels.shape
    assert np.array_equal(to_channels(second, 1), decode(mask.read_bytes(), channels=1).pixels)
    result = np.array(values, np.uint8).reshape(shape)
    assert encode_png(result) == whole_png(load_model(version3_of(kind), provider="cpu"), image, mask)
