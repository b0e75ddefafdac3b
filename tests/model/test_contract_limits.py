import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hostile_models import stamped
from hypothesis import given
from hypothesis import strategies as st

from polyexport.errors import ContractError
from polyexport.imaging.codecs.png import encode_png
from polyexport.model.contract import METADATA_KEY, Contract
from polyexport.model.contract_limits import MAX_COLORS, MAX_SAMPLE_SIDE, MAX_TEXT, check_sizes
from polyexport.model.file import read_contract
from polyexport.model.model import Model
from polyexport.model.samples import SAMPLES_KEY, read_samples
from polyexport.runtime import onnx_bytes
from polyexport.runtime.session import SessionOptions

GOOD = (Path(__file__).parents[1] / "files_of_0_1_0" / "rgb.onnx").read_bytes()
CONTRACT: dict[str, Any] = json.loads(onnx.load_model_from_string(GOOD).metadata_props[0].value)


def picture(height: int, width: int) -> str:
    return base64.b64encode(encode_png(np.zeros((height, width, 3), np.uint8))).decode()


LARGE = picture(MAX_SAMPLE_SIDE + 8, 8)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"golden": CONTRACT["golden"] | {"image_png": LARGE}},
            "golden.image_png is 8x1032 pixels, more than 1024x1024",
        ),
        ({"golden": CONTRACT["golden"] | {"colored_png": LARGE}}, "golden.colored_png is 8x1032 pixels"),
        ({"golden": CONTRACT["golden"] | {"image_png": "A" * (7 << 20)}}, "golden.image_png has 7340032 characters"),
        ({"golden": CONTRACT["golden"] | {"color": "A" * (1 << 20)}}, "golden.color has 1048576 characters"),
        ({"network": "x" * (MAX_TEXT + 1)}, "network has 1025 characters, more than 1024"),
        ({"palette": [["a", [0, 0, 0]]] * (MAX_COLORS + 1)}, "palette has 4097 values, more than 4096"),
        ({"versions": {str(i): "1" for i in range(65)}}, "versions has 65 keys, more than 64"),
        ({"versions": {"x" * 1025: "1"}}, "versions has a key of 1025 characters"),
        ({"parity": CONTRACT["parity"] | {"stages": CONTRACT["parity"]["stages"] * 2049}}, "parity.stages has 4098"),
        ({"parity": CONTRACT["parity"] | {"batches": [1] * 70_000}}, "not JSON|more than 65536 values"),
        ({"training_size": 2048}, "training_size must be a multiple of 4 up to 1024, got 2048"),
    ],
)
def test_a_contract_out_of_proportion_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ContractError, match=said):
        Contract.from_json(json.dumps(CONTRACT | changes))


def test_the_largest_sample_and_training_size_pass() -> None:
    golden = CONTRACT["golden"] | {"image_png": picture(MAX_SAMPLE_SIDE, MAX_SAMPLE_SIDE)}
    assert Contract.from_json(json.dumps(CONTRACT | {"golden": golden, "training_size": 1024})).training_size == 1024


def test_a_long_table_passes() -> None:
    check_sizes({"embedding": {"table": "A" * (8 << 20), "encoder": "A" * (8 << 20)}})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(_JSON)
def test_any_small_value_passes(value: object) -> None:
    check_sizes({"image_png": value, "other": value})


@pytest.mark.parametrize("text", ["", "!", "iVBORw0KGgo", picture(8, 8)[:30], base64.b64encode(b"GIF89a" * 9).decode()])
def test_what_is_not_a_png_is_left_to_the_decoder(text: str) -> None:
    check_sizes({"image_png": text})


def test_large_metadata_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_bytes, "MAX_METADATA_BYTES", 20_000)
    assert read_contract(GOOD)
    model = onnx.load_model_from_string(GOOD)
    onnx.helper.set_model_props(model, {METADATA_KEY: model.metadata_props[0].value, "more": "x" * 20_000})
    with pytest.raises(ContractError, match="its metadata has more than 20000 bytes or 64 entries"):
        read_contract(bytes(model.SerializeToString()))


def test_many_entries_and_many_fields_are_refused() -> None:
    empty = b"\x72\x00"
    assert read_contract(GOOD + empty)
    with pytest.raises(ContractError, match="or 64 entries"):
        read_contract(GOOD + b"".join(b"\x72\x04\x0a\x02" + f"{i:02d}".encode() for i in range(70)))
    entry = b"\x0a\x00" * 2000
    with pytest.raises(ContractError, match="an entry of its metadata has more than 1024 fields"):
        read_contract(GOOD + b"\x72\xa0\x1f" + entry)


def test_further_samples_cost_no_more_than_the_first() -> None:
    golden = CONTRACT["golden"] | {"image_png": picture(128, 128), "colored_png": picture(128, 128)}
    model = onnx.load_model_from_string(GOOD)
    contract = model.metadata_props[0].value
    onnx.helper.set_model_props(model, {METADATA_KEY: contract, SAMPLES_KEY: json.dumps({"samples": [golden]})})
    data = bytes(model.SerializeToString())
    loaded = Model.from_bytes(data, SessionOptions(provider="cpu"))
    [sample] = read_samples(data)
    with pytest.raises(ContractError, match="128x128 pixels, more than the limit of 4096"):
        loaded.repeat_golden(sample)


def test_a_sample_that_claims_more_than_its_header_says_is_not_decoded() -> None:
    """A format other than PNG has no header that the contract's check reads; the decoder's limit holds."""
    import io

    from PIL import Image

    large = io.BytesIO()
    Image.new("RGB", (2000, 2000)).save(large, "WEBP", lossless=True)
    text = base64.b64encode(large.getvalue()).decode()
    data = stamped(
        onnx.load_model_from_string(GOOD), {"golden": CONTRACT["golden"] | {"image_png": text, "colored_png": text}}
    )
    with pytest.raises(ContractError, match="2000x2000 pixels, more than the limit of 1048576"):
        Model.from_bytes(data, SessionOptions(provider="cpu"))
