import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyexport.contract import CONTRACT_VERSION, Contract, GoldenSample, Parity, Quality
from polyexport.errors import ContractError

CONTRACT = Contract(
    conditioning="rgb",
    size_multiple=16,
    training_size=128,
    opset=21,
    versions={"onnx": "1"},
    checkpoint_sha256="0" * 64,
    parity=Parity(
        reference="a",
        candidate="b",
        max_abs_diff=1e-6,
        uint8_max_diff=0,
        uint8_equal=1.0,
        values=3,
        images=1,
        colors=1,
        batches=(1, 2),
        sizes=(64,),
    ),
    golden=GoldenSample(image_png="", color=(1, 2, 3), colored_png=""),
    quality=Quality(data="set", images=2, psnr_mean_db=50.0, psnr_min_db=40.0),
)


def test_round_trip() -> None:
    assert Contract.from_json(CONTRACT.to_json()) == CONTRACT
    vocabulary = replace(CONTRACT, conditioning="vocabulary", palette=(("red", (255, 0, 0)),), quality=None)
    assert Contract.from_json(vocabulary.to_json()) == vocabulary


@pytest.mark.parametrize("key", sorted(set(json.loads(CONTRACT.to_json())) - {"contract_version", "quality"}))
def test_a_missing_entry_is_named(key: str) -> None:
    raw = json.loads(CONTRACT.to_json())
    del raw[key]
    with pytest.raises(ContractError, match=key):
        Contract.from_json(json.dumps(raw))


@pytest.mark.parametrize("version", [None, 0, CONTRACT_VERSION + 1, "1"])
def test_another_version_is_refused(version: object) -> None:
    raw = json.loads(CONTRACT.to_json()) | {"contract_version": version}
    with pytest.raises(ContractError, match="version"):
        Contract.from_json(json.dumps(raw))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("size_multiple", 0),
        ("size_multiple", "x"),
        ("training_size", 100),
        ("training_size", 1e400),
        ("conditioning", "text"),
        ("conditioning", "vocabulary"),
        ("palette", [["red", [1, 2]]]),
        ("palette", 3),
        ("precision", "fp8"),
        ("parity", None),
        ("parity", {}),
        ("golden", {"image_png": "", "color": [1], "colored_png": ""}),
        ("quality", {"surprise": 1}),
        ("versions", []),
    ],
)
def test_an_impossible_entry_is_refused(key: str, value: object) -> None:
    raw = json.loads(CONTRACT.to_json()) | {key: value}
    with pytest.raises(ContractError):
        Contract.from_json(json.dumps(raw))


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_no_json_value_gets_past_as_another_error(value: object) -> None:
    raw = json.loads(CONTRACT.to_json())
    for key in raw:
        try:
            Contract.from_json(json.dumps(raw | {key: value}))
        except ContractError:
            continue


@given(st.text())
def test_no_text_gets_past_as_another_error(text: str) -> None:
    with pytest.raises(ContractError):
        Contract.from_json(text)
