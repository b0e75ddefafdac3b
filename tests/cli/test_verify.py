"""`verify`: what it shows, and what it says of that."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from signing_keys import KeyPair

from polyexport.cli.sign import sign
from polyexport.cli.verify import verify
from polyexport.errors import ContractError, SignatureError, UsageError
from polyexport.model.contract import COLORED, METADATA_KEY
from polyexport.model.file import read_contract
from polyexport.model.loading.load import load_model
from polyexport.model.model import Model
from polyexport.model.samples import SAMPLES_KEY
from polyexport.runtime.onnx_bytes import graph_sha256
from polyexport.runtime.session import SessionOptions

CPU = SessionOptions(provider="cpu", threads=1)
FILES_OF_0_1_0 = Path(__file__).parents[1] / "files_of_0_1_0"


def right_for_one_color_alone(data: bytes) -> bytes:
    """Change a graph so that it inverts the image in every color but the golden one, and compute its hash anew."""
    model = onnx.load_model_from_string(data)
    contract = read_contract(data)
    kept = {entry.key: entry.value for entry in model.metadata_props}
    golden = np.array(contract.golden.values, np.uint8)
    for node in model.graph.node:
        node.output[:] = ["right" if name == COLORED else name for name in node.output]
    shape = np.array([-1, 1, 1, 1], np.int64)
    for name, value in (("golden", golden), ("white", np.array(255, np.uint8)), ("as rows", shape)):
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    model.graph.node.extend(
        [
            helper.make_node("Equal", ["color", "golden"], ["channels are golden"]),
            helper.make_node("Cast", ["channels are golden"], ["channels"], to=onnx.TensorProto.INT64),
            helper.make_node("ReduceMin", ["channels", "axis"], ["all"], keepdims=1),
            helper.make_node("Cast", ["all"], ["is golden"], to=onnx.TensorProto.BOOL),
            helper.make_node("Reshape", ["is golden", "as rows"], ["rows"]),
            helper.make_node("Sub", ["white", "right"], ["wrong"]),
            helper.make_node("Where", ["rows", "right", "wrong"], [COLORED]),
        ]
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "axis"))
    del model.metadata_props[:]
    forged = replace(contract, graph_sha256=graph_sha256(model.SerializeToString()))
    helper.set_model_props(model, kept | {METADATA_KEY: forged.to_json()})
    return bytes(model.SerializeToString())


def test_a_graph_that_is_right_for_the_first_golden_color_alone_is_refused(
    tiny_model_path: Path, tmp_path: Path
) -> None:
    forged = tmp_path / "forged.onnx"
    forged.write_bytes(right_for_one_color_alone(tiny_model_path.read_bytes()))

    assert Model.from_bytes(forged.read_bytes(), CPU).golden_difference == 0  # as every later load does it
    with pytest.raises(ContractError, match=r"forged\.onnx is refused: its golden sample comes out"):
        load_model(forged, provider="cpu")
    with pytest.raises(ContractError, match=r"forged\.onnx is refused: its golden sample comes out"):
        verify(forged, provider="cpu")


def test_samples_that_whoever_changed_the_file_left_out_are_missed(
    tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a key nothing more can be known, and nothing more is said."""
    model = onnx.load_model_from_string(right_for_one_color_alone(tiny_model_path.read_bytes()))
    [samples] = [entry for entry in model.metadata_props if entry.key == SAMPLES_KEY]
    model.metadata_props.remove(samples)
    forged = tmp_path / "forged.onnx"
    forged.write_bytes(model.SerializeToString())

    verify(forged, provider="cpu")
    printed = capsys.readouterr()
    assert printed.out == (
        f"{forged}: consistent with itself (hash and 1 golden sample), which does not prove where it comes from "
        "(--key and --against do), on CPUExecutionProvider\n"
    )
    verify(forged, provider="cpu", json_report=True)
    document = json.loads(capsys.readouterr().out)
    assert document["signed"] is None
    assert document["golden_samples"] == 1


def test_who_signed_a_file_is_said(keys: KeyPair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes((FILES_OF_0_1_0 / "rgb.onnx").read_bytes())
    sign(model, key=keys.private)
    verify(model, key=keys.public, provider="cpu", quiet=False)
    shown = capsys.readouterr().out.splitlines()[-1]
    assert shown.startswith(f"{model}: signed with the private key of {keys.public} (SHA-256 ")
    assert "does not prove" not in shown

    verify(model, key=keys.public, provider="cpu", json_report=True)
    signed = json.loads(capsys.readouterr().out)["signed"]
    assert signed["key"] == str(keys.public)
    assert signed["signature"] == f"{model}.sig"

    (tmp_path / "m.onnx.sig").rename(tmp_path / "elsewhere")
    with pytest.raises(SignatureError, match=r"signature .*m\.onnx\.sig cannot be read"):
        verify(model, key=keys.public)
    verify(model, key=keys.public, signature=tmp_path / "elsewhere", provider="cpu")
    with pytest.raises(UsageError, match="without --key"):
        verify(model, signature=tmp_path / "elsewhere")
