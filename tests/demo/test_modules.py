"""The page's modules against the Python modules that do the same."""

import base64
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
