"""The page's modules against the Python modules that do the same."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from polyexport.errors import ContractError
from polyexport.evaluate.floodfill import flood_fill
from polyexport.model.canvas import CanvasRule
from polyexport.runtime.onnx_bytes import graph_sha256, metadata_props

_OF_TEXT = "const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));"


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@settings(max_examples=60, deadline=None)
@given(
    image=st.tuples(st.integers(1, 24), st.integers(1, 24), st.just(3)).flatmap(
        lambda shape: hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 90, 127, 128, 129, 255]))
    ),
    rgb=st.tuples(*[st.integers(0, 255)] * 3),
)
def test_the_flood_fill_is_the_one_that_evaluate_knows(
    tab: Any, image: NDArray[np.uint8], rgb: tuple[int, int, int]
) -> None:
    filled = tab.evaluate(
        f"async ([text, width, height, rgb]) => {{ {_OF_TEXT} const {{ floodFill }} = await import('./floodfill.mjs');"
        " return [...floodFill(bytes(text), width, height, rgb)]; }",
        [encoded(image.tobytes()), image.shape[1], image.shape[0], list(rgb)],
    )
    assert np.array_equal(np.array(filled, np.uint8).reshape(image.shape), flood_fill(image, rgb))


FIT_CASES = [
    case
    for case in json.loads((Path(__file__).parents[1] / "model" / "canvas_cases.json").read_text())["cases"]
    if case["mode"] == "fit"
]


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


@settings(max_examples=60, deadline=None)
@given(
    image=st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3)).flatmap(
        lambda shape: hnp.arrays(np.uint8, shape, elements=st.integers(0, 255))
    ),
    size=st.integers(1, 40),
)
def test_a_canvas_is_the_one_of_the_model(tab: Any, image: NDArray[np.uint8], size: int) -> None:
    height, width = image.shape[:2]
    pixels, restored = tab.evaluate(
        f"async ([text, width, height, size]) => {{ {_OF_TEXT} const {{ Canvas }} = await import('./canvas.mjs');"
        " const contract = { training_size: size, size_multiple: 1, fixed_size: false };"
        " const canvas = new Canvas(bytes(text), { width, height }, contract);"
        " return [[...canvas.pixels], [...canvas.restore(canvas.pixels, [0, 0, 0])]]; }",
        [encoded(image.tobytes()), width, height, size],
    )
    expected = CanvasRule(size=size, multiple=1).place(image)
    assert np.array_equal(np.array(pixels, np.uint8).reshape(size, size, 3), expected.pixels)
    assert np.array_equal(np.array(restored, np.uint8).reshape(image.shape), expected.restore(expected.pixels))


def looked_at(tab: Any, model: bytes) -> tuple[dict[str, str], str] | None:
    """What the page reads in a model file; None if it refuses it."""
    found = tab.evaluate(
        f"async text => {{ {_OF_TEXT} const {{ Refused, graphSha256, metadataProps }} = await import('./contract.mjs');"
        " try { return [[...metadataProps(bytes(text))], await graphSha256(bytes(text))]; }"
        " catch (error) { if (error instanceof Refused) return null; throw error; } }",
        encoded(model),
    )
    return None if found is None else (dict(found[0]), found[1])


def expected_of(model: bytes) -> tuple[dict[str, str], str] | None:
    try:
        return metadata_props(model), graph_sha256(model)
    except ContractError:
        return None


def test_metadata_and_hash_of_the_shipped_model(tab: Any, shipped_path: Path) -> None:
    model = shipped_path.read_bytes()
    assert looked_at(tab, model) == expected_of(model)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_metadata_and_hash_of_damaged_models(tab: Any, model_of: Any, data: st.DataObject) -> None:
    model = bytearray(model_of("vocabulary").read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        model[data.draw(st.integers(0, min(len(model) - 1, 2000)))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.just(len(model)), st.integers(0, len(model))))
    damaged = bytes(model[:cut])
    try:
        expected = expected_of(damaged)
    except UnicodeDecodeError:
        return  # polyexport refuses it; a browser has no words for it, and shows a character in its place
    assert looked_at(tab, damaged) == expected


@pytest.mark.parametrize(
    ("text", "rgb"),
    [
        ("tomato", [255, 99, 71]),
        ("#08f", [0, 136, 255]),
        ("rgb(255, 136, 0)", [255, 136, 0]),
        ("hsl(120, 100%, 50%)", [0, 255, 0]),
        ("ReD", [255, 0, 0]),
        ("url(x)", None),
        ("var(--main)", None),
        ("env(x)", None),
        ("CurrentColor", None),
        ("rgba(1, 2, 3, 0.5)", None),
        ("inherit", None),
        ("", None),
    ],
)
def test_colors(tab: Any, text: str, rgb: list[int] | None) -> None:
    assert tab.evaluate("async text => (await import('./color.mjs')).parseColor(text)", text) == rgb
