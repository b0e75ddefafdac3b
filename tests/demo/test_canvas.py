"""The page's canvas, scaling and files against the Python modules that do the same."""

import base64
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.pixels import decode, to_channels
from polyexport.model.canvas import CanvasRule
from polyexport.model.contract import Contract
from polyexport.model.file import peek_contract

_OF_TEXT = "const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));"
Pixels = NDArray[np.uint8]


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def images(most: int, channels: st.SearchStrategy[int]) -> st.SearchStrategy[Pixels]:
    shapes = st.tuples(st.integers(1, most), st.integers(1, most), channels)
    return shapes.flatmap(lambda shape: hnp.arrays(np.uint8, shape, elements=st.integers(0, 255)))


CASES = json.loads((Path(__file__).parents[1] / "model" / "canvas_cases.json").read_text())["cases"]
FIT_CASES = [case for case in CASES if case["mode"] == "fit"]


def test_images_are_scaled_to_the_same_size(tab: Any) -> None:
    sizes = [[case["width"], case["height"], case["size"]] for case in FIT_CASES]
    # The cases, and an exact half of a pixel, which is rounded to the even number.
    found = tab.evaluate(
        "async sizes => { const { fittedSize } = await import('./canvas.mjs');"
        " return sizes.map(size => fittedSize(...size)); }",
        [*sizes, [16, 5, 8], [16, 7, 8]],
    )
    assert FIT_CASES
    assert found == [[case["inner"][1], case["inner"][0]] for case in FIT_CASES] + [[8, 2], [8, 4]]


@settings(max_examples=120, deadline=None)
@given(
    image=images(30, st.sampled_from([1, 3, 4])),
    mode=st.sampled_from(["fit", "native"]),
    size=st.integers(1, 6),
    across=st.integers(0, 6),
    multiple=st.integers(1, 5),
    smallest=st.integers(1, 20),
    square=st.booleans(),
    white=st.booleans(),
    scale=st.sampled_from(["1", "1/2", "1/3", "2", "3"]),
    kind=st.sampled_from(["picture", "labels"]),
    seed=st.integers(0, 9),
)
def test_a_canvas_is_the_one_of_the_model(
    tab: Any, image: Pixels, size: int, across: int, multiple: int, scale: str, kind: str, seed: int, **entries: Any
) -> None:
    height, width, channels = image.shape
    multiple *= int(scale.partition("/")[2] or 1)
    rule = CanvasRule(size=size * multiple, width=across * multiple, multiple=multiple, channels=channels, **entries)
    canvas = rule.place(image)
    up, down = map(int, (*scale.split("/"), "1")[:2])
    made = [side * up // down for side in canvas.pixels.shape[:2]]
    output = np.random.default_rng(seed).integers(0, 256, (*made, channels), dtype=np.uint8)
    shape, pixels, restored = tab.evaluate(
        f"async ([text, width, height, rule, output, result]) => {{ {_OF_TEXT}"
        " const { Canvas } = await import('./canvas.mjs');"
        " const canvas = new Canvas(bytes(text), { width, height }, rule);"
        " const made = canvas.restore(bytes(output), [0, 0, 0], result);"
        " return [[canvas.height, canvas.width, made.height, made.width], [...canvas.pixels], [...made.pixels]]; }",
        [
            encoded(image.tobytes()),
            width,
            height,
            asdict(rule),
            encoded(output.tobytes()),
            {"kind": kind, "scale": scale, "channels": channels},
        ],
    )
    expected = canvas.restore(output, mixed=kind != "labels")
    assert shape == [*canvas.pixels.shape[:2], *expected.shape[:2]]
    assert np.array_equal(np.array(pixels, np.uint8).reshape(canvas.pixels.shape), canvas.pixels)
    assert np.array_equal(np.array(restored, np.uint8).reshape(expected.shape), expected)


@pytest.mark.parametrize("kind", ["plain", "number", "gray", "fixed", "half", "shipped"])
def test_the_rule_is_the_one_of_the_contract(kind: str, tab: Any, version3_of: Any, shipped_path: Path) -> None:
    path = shipped_path if kind == "shipped" else version3_of(kind)
    contract: Contract = peek_contract(path)
    found = tab.evaluate(
        f"async text => {{ {_OF_TEXT} const {{ readContract }} = await import('./contract.mjs');"
        " return (await import('./canvas.mjs')).canvasRule(await readContract(bytes(text))); }",
        encoded(path.read_bytes()),
    )
    expected = asdict(contract.canvas_rule())
    for name in ("keep_original", "first_look"):  # the page looks at the full canvas alone
        del expected[name]
    assert found == expected


@settings(max_examples=60, deadline=None)
@given(image=images(12, st.sampled_from([1, 3, 4])), channels=st.sampled_from([1, 3, 4]))
def test_channels_are_converted_as_the_model_is_given_them(tab: Any, image: Pixels, channels: int) -> None:
    found = tab.evaluate(
        f"async ([text, from, to]) => {{ {_OF_TEXT} const {{ toChannels }} = await import('./pixels.mjs');"
        " return [...toChannels(bytes(text), from, to)]; }",
        [encoded(image.tobytes()), image.shape[2], channels],
    )
    assert np.array_equal(np.array(found, np.uint8).reshape(*image.shape[:2], channels), to_channels(image, channels))


@settings(max_examples=60, deadline=None)
@given(image=images(20, st.sampled_from([1, 3, 4])))
def test_png_files_keep_every_value(tab: Any, image: Pixels) -> None:
    height, width, channels = image.shape
    read, written = tab.evaluate(
        f"async ([file, text, width, height, channels]) => {{ {_OF_TEXT}"
        " const { decodePng, encodePng } = await import('./png.mjs');"
        " const { pixels, ...size } = await decodePng(bytes(file));"
        " const blob = await encodePng(bytes(text), width, height, channels);"
        " return [[[...pixels], size], [...new Uint8Array(await blob.arrayBuffer())]]; }",
        [encoded(encode_png(image)), encoded(image.tobytes()), width, height, channels],
    )
    assert read == [image.ravel().tolist(), {"width": width, "height": height, "channels": channels}]
    assert np.array_equal(decode(bytes(written), channels=channels).pixels, image)


def test_png_files_of_every_filter_are_read(tab: Any) -> None:
    import io

    from PIL import Image

    gradient = np.add.outer(np.arange(40), 2 * np.arange(60))[..., None] * np.array([1, 2, 3])
    image = (gradient % 256).astype(np.uint8)
    image[::5] = np.random.default_rng(1).integers(0, 256, image[::5].shape, dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")  # libpng chooses a filter for each row
    found = tab.evaluate(
        f"async text => {{ {_OF_TEXT}"
        " return [...(await (await import('./png.mjs')).decodePng(bytes(text))).pixels]; }",
        encoded(file.getvalue()),
    )
    assert found == image.ravel().tolist()
