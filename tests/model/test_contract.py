import base64
import json
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from contracts import color_contract, color_golden, with_color
from hypothesis import given
from hypothesis import strategies as st

from polyexport.errors import ContractError
from polyexport.imaging.pixels import MAX_SIDE
from polyexport.model.certificate import Fidelity, Parity, Quality, StageParity
from polyexport.model.conditions.fields import Embedding
from polyexport.model.contract import Contract

STAGE = StageParity(name="raw", nodes=9, max_abs_diff=1e-6, uint8_max_diff=0, uint8_equal=1.0, psnr_db=100.0, values=3)
CONTRACT = color_contract(
    conditioning="rgb",
    size_multiple=16,
    training_size=128,
    opset=21,
    versions={"onnx": "1"},
    network="trainer",
    checkpoint_sha256="0" * 64,
    graph_sha256="1" * 64,
    parity=Parity(
        reference="a",
        candidate="b",
        stages=(STAGE, replace(STAGE, name="int8", max_abs_diff=0.1)),
        images=1,
        colors=1,
        batches=(1, 2),
        sizes=((64, 32),),
    ),
    fidelity=(
        Fidelity(
            data="plain",
            images=2,
            psnr_to_fp32_mean_db=50.0,
            psnr_to_fp32_min_db=40.0,
            fp32_psnr_mean_db=52.0,
            psnr_mean_db=51.0,
            fp32_within_8=0.99,
            within_8=0.98,
        ),
    ),
    golden=color_golden(color=(1, 2, 3)),
    quality=Quality(data="set", images=2, psnr_mean_db=50.0, psnr_min_db=40.0),
)
PALETTE = (("red", (255, 0, 0)), ("blue", (0, 0, 255)))
TABLE = Embedding(dim=3, table=base64.b64encode(bytes(2 * 3 * 4)).decode())
ENCODER = Embedding(dim=3, encoder="AAAA")


VARIANTS: dict[str, dict[str, Any]] = {
    "rgb": {"conditioning": "rgb"},
    "rgb, embedding": {"conditioning": "rgb", "color_input": "embedding", "embedding": ENCODER},
    "vocabulary": {"conditioning": "vocabulary", "palette": PALETTE},
    "vocabulary, embedding": {
        "conditioning": "vocabulary",
        "palette": PALETTE,
        "color_input": "embedding",
        "embedding": TABLE,
    },
    "vectors and their table": {
        "conditioning": "embedding",
        "palette": PALETTE,
        "color_input": "embedding",
        "embedding": TABLE,
    },
    "vectors alone": {"conditioning": "embedding", "color_input": "embedding", "embedding": Embedding(dim=7)},
    "many colors, one size, int8": {"many_colors": True, "fixed_size": True, "precision": "int8"},
    "a precision that is not known here": {"precision": "x_4"},
    "unmeasured": {"fidelity": (), "quality": None, "versions": {}},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_round_trip(changes: dict[str, Any]) -> None:
    contract = with_color(CONTRACT, **changes)
    assert Contract.from_json(contract.to_json()) == contract
    assert json.loads(contract.to_json())["contract_version"] == contract.version == 2


def test_equal_contracts_give_equal_text() -> None:
    one, two = (
        replace(CONTRACT, versions=dict(pairs)) for pairs in ([("a", "1"), ("b", "2")], [("b", "2"), ("a", "1")])
    )
    assert one.to_json() == two.to_json()


def test_the_last_stage_is_the_model_itself() -> None:
    assert CONTRACT.parity.final.name == "int8"
    with pytest.raises(FrozenInstanceError):
        CONTRACT.opset = 3  # type: ignore[misc]


@pytest.mark.parametrize("key", sorted(set(json.loads(CONTRACT.to_json())) - {"contract_version"}))
def test_a_missing_entry_is_named(key: str) -> None:
    raw = json.loads(CONTRACT.to_json())
    del raw[key]
    with pytest.raises(ContractError, match=f"lacks {key};"):
        Contract.from_json(json.dumps(raw))


@pytest.mark.parametrize("version", [None, 0, 1, 4, True, 2.0, "2", [2], "9" * 10_000])
def test_another_version_is_refused(version: object) -> None:
    raw = json.loads(CONTRACT.to_json()) | {"contract_version": version}
    with pytest.raises(ContractError, match="contract version .*, expected 2 or 3") as caught:
        Contract.from_json(json.dumps(raw))
    assert len(str(caught.value)) < 250


VOCABULARY = VARIANTS["vocabulary"]
VECTORS = VARIANTS["vectors and their table"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"size_multiple": 0}, "size_multiple must be"),
        ({"size_multiple": MAX_SIDE + 1}, "size_multiple must be"),
        ({"training_size": 100}, "training_size must be a multiple of 16"),
        ({"training_size": 0}, "training_size must be"),
        ({"training_size": MAX_SIDE + 16}, "training_size must be"),
        ({"conditioning": "text"}, "conditioning must be"),
        ({"conditioning": "vocabulary"}, "a palette belongs to"),
        ({"palette": PALETTE}, "a palette belongs to"),
        (VOCABULARY | {"palette": (("red", (0, 0, 256)),)}, "from 0 to 255"),
        (VOCABULARY | {"palette": (*PALETTE, PALETTE[0])}, "unique"),
        ({"color_input": "embedding"}, "do not agree"),
        ({"embedding": ENCODER}, "do not agree"),
        ({"color_input": "vector", "embedding": ENCODER}, "do not agree"),
        (VECTORS | {"color_input": "color", "embedding": None}, "takes them as its input"),
        (VECTORS | {"palette": PALETTE[:1]}, "2 rows for 1 names"),
        (VECTORS | {"palette": ()}, "2 rows for 0 names"),
        (VECTORS | {"embedding": Embedding(dim=3)}, "0 rows for 2 names"),
        (VECTORS | {"palette": (), "embedding": ENCODER}, "an encoder belongs to"),
        (VARIANTS["rgb, embedding"] | {"embedding": Embedding(dim=3)}, "an encoder belongs to"),
        (VARIANTS["vocabulary, embedding"] | {"embedding": Embedding(dim=3)}, "0 rows for 2 names"),
        ({"precision": ""}, "precision must be 1 to 16 lowercase letters"),
        ({"precision": "FP8"}, "precision must be"),
        ({"precision": "fp-8"}, "precision must be"),
        ({"precision": "fp8\n"}, "precision must be"),
        ({"precision": "x" * 17}, "precision must be"),
        ({"parity": replace(CONTRACT.parity, stages=())}, "parity has no stage"),
    ],
)
def test_contracts_that_contradict_themselves_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        with_color(CONTRACT, **changes)


@pytest.mark.parametrize(
    "values",
    [
        {"dim": 0},
        {"dim": 65_537},
        {"dim": 3, "table": "AAAA"},
        {"dim": 3, "table": "!"},
        {"dim": 3, "table": TABLE.table, "encoder": "AAAA"},
        {"dim": 3, "encoder": "A"},
        {"dim": 3, "encoder": "\u00e9"},
    ],
)
def test_an_embedding_that_is_none_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Embedding(**values)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("size_multiple", "x"),
        ("training_size", 1e308),
        ("palette", [["red", [1, 2]]]),
        ("palette", 3),
        ("parity", None),
        ("parity", {}),
        ("golden", {"image_png": "", "color": [1], "colored_png": ""}),
        ("golden", {"image_png": "", "color": [0, 0, 256], "colored_png": ""}),
        ("quality", {"surprise": 1}),
        ("versions", []),
        ("embedding", {"dim": 3}),
        ("many_colors", 1),
    ],
)
def test_an_impossible_entry_is_refused_by_name(key: str, value: object) -> None:
    raw = json.loads(CONTRACT.to_json()) | {key: value}
    with pytest.raises(ContractError, match=f"unusable: .*{key}"):
        Contract.from_json(json.dumps(raw))


def test_an_entry_that_stands_twice_is_refused() -> None:
    text = CONTRACT.to_json().replace('"training_size":', '"training_size": 1, "training_size":')
    with pytest.raises(ContractError, match="'training_size' stands twice"):
        Contract.from_json(text)


def test_a_contract_that_is_too_deep_is_refused() -> None:
    for depth in (10, 500, 900, 950, 990, 100_000):
        text = CONTRACT.to_json().replace('"parity": {', f'"parity": {"[" * depth}{"]" * depth}, "more": {{')
        with pytest.raises(ContractError):
            Contract.from_json(text)


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
