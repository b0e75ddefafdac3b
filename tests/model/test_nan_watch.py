"""What is not a number is black in 8 bits; the watch tells the two apart."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from polyexport.errors import ContractError, ImageError
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.color import parse_color
from polyexport.model.contract import METADATA_KEY, Contract
from polyexport.model.loading.load import load_model
from polyexport.model.model import Model
from polyexport.model.nan_watch import WATCH, watched
from polyexport.model.settings import setting_of
from polyexport.pipeline.decoding.pool import DecodingPool
from polyexport.pipeline.job import Job, run_job
from polyexport.pipeline.outputs.disk import OutputFolder
from polyexport.pipeline.plan import make_plan
from polyexport.pipeline.results import ItemResult
from polyexport.runtime.onnx_bytes import graph_sha256
from polyexport.runtime.open import open_session
from polyexport.runtime.session import SessionOptions


@pytest.fixture
def breaking(tiny_model_path: Path, tmp_path: Path) -> Path:
    """The tiny model, whose floats are not numbers for an image that is black all over: 0 times the logarithm of 0."""
    model = onnx.load_model_from_string(tiny_model_path.read_bytes())
    graph = model.graph
    (quantize,) = (node for node in graph.node if node.op_type == "QuantizeLinear")
    floats = quantize.input[0]
    made_by = next(number for number, node in enumerate(graph.node) if floats in node.output)
    graph.node[made_by].output[0] = "whole"
    breaking = [
        helper.make_node("Cast", ["image"], ["as_float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["as_float", "but_batch"], ["brightest"], keepdims=1),
        helper.make_node("Log", ["brightest"], ["logarithm"]),
        helper.make_node("Mul", ["logarithm", "nought"], ["nothing"]),
        helper.make_node("Add", ["whole", "nothing"], [floats]),
    ]
    for number, node in enumerate(breaking, made_by + 1):
        graph.node.insert(number, node)
    graph.initializer.append(numpy_helper.from_array(np.array([1, 2, 3]), "but_batch"))
    graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "nought"))
    onnx.checker.check_model(model)
    (entry,) = (entry for entry in model.metadata_props if entry.key == METADATA_KEY)
    contract = Contract.from_json(entry.value)
    entry.value = entry.value.replace(contract.graph_sha256, graph_sha256(model.SerializeToString()))
    path = tmp_path / "breaking.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_what_is_no_number_is_an_error_and_not_black(breaking: Path, provider: str) -> None:
    if provider == "openvino":
        pytest.importorskip("openvino")
    model = load_model(breaking, provider=provider)
    white, black = np.full((32, 32, 3), 255, np.uint8), np.zeros((32, 32, 3), np.uint8)
    assert model.colorize([white], ["red"])[0][0].shape == (32, 32, 3)
    with pytest.raises(ImageError, match="no numbers"):
        model.colorize([black], ["red"])
    with pytest.raises(ImageError, match="1 of 3 images"):
        model.run(np.stack([white, black, white]), np.zeros((3, 3), np.uint8))


def test_a_run_fails_the_image_that_came_out_as_no_numbers(breaking: Path, drawings: Path, tmp_path: Path) -> None:
    (drawings / "3.png").write_bytes(encode_png(np.zeros((64, 64, 3), np.uint8)))
    model = load_model(breaking, provider="cpu")
    plan = make_plan([drawings], [setting_of(model.conditions, [parse_color("red")])], output=tmp_path / "out")
    results: list[ItemResult] = []
    assert isinstance(plan.output, Path)
    with OutputFolder(plan.output) as folder, DecodingPool(jobs=1) as decoders:
        job = Job(plan=plan, size=64, batch_size=4)
        report = run_job(
            job, lambda threads, streams, images: model, folder=folder, decoding_pool=decoders, on_result=results.append
        )
    assert (report.ok, report.failed, report.written) == (5, 1, 5)
    assert [result.item.name for result in results if "no numbers" in result.reason] == ["3.png"]


def test_every_kind_of_model_is_watched(tiny_model: Model, shipped: Model, vocabulary_model: Model) -> None:
    for model in (tiny_model, shipped, vocabulary_model):
        assert WATCH in model.session.outputs


def test_the_watch_does_not_change_a_pixel(shipped_path: Path, shipped: Model) -> None:
    plain = open_session(shipped_path.read_bytes(), SessionOptions(provider="cpu"))
    feeds = {
        "image": np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8),
        "color": np.array([[255, 0, 0], [1, 2, 3]], np.uint8),
    }
    assert np.array_equal(plain.run("colored", feeds), shipped.run(feeds["image"], feeds["color"]))


def test_a_graph_that_converts_nothing_is_left_alone(relu_model: onnx.ModelProto) -> None:
    data = relu_model.SerializeToString()
    assert watched(data, "colored") == data


@settings(max_examples=60)
@given(st.binary(max_size=120))
def test_any_bytes_are_watched_or_refused(data: bytes) -> None:
    try:
        found = watched(data, "colored")
    except (ContractError, UnicodeDecodeError):
        return
    assert found.startswith(data)
