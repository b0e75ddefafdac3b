import base64
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image

import polyexport
from polyexport.contract import METADATA_KEY
from polyexport.errors import ColorError, ContractError, UsageError
from polyexport.evaluate.metrics import psnr_db
from polyexport.model import Model, load_model
from polyexport.session import SessionOptions
from trainer.polygons import DrawingConfig, draw

CPU = SessionOptions(provider="cpu")
CLEAN = DrawingConfig(antialiased=0, gapped=0, noisy=0, tinted=0)


def test_the_shipped_model_fills_drawings_it_never_saw(shipped: Model) -> None:
    """Golden quality: the drawings and the model are fixed, and so is the score, but for rounding."""
    drawings = [draw(np.random.default_rng([99, i]), 128, CLEAN) for i in range(12)]
    scores = [psnr_db(shipped.colorize([one.image], [one.color])[0][0], one.colored) for one in drawings]
    assert np.median(scores) > 40
    assert min(scores) > 20


def test_images_times_colors(shipped: Model, tmp_path: Path) -> None:
    small, large = draw(np.random.default_rng(0), 64).image, draw(np.random.default_rng(1), 200).image
    Image.fromarray(large[:, :150]).save(tmp_path / "large.png")
    results = shipped.colorize([small, tmp_path / "large.png", Image.fromarray(small)], ["red", "#00f", (1, 2, 3)])

    assert [[colored.shape for colored in row] for row in results] == [
        [(64, 64, 3)] * 3,
        [(200, 150, 3)] * 3,
        [(64, 64, 3)] * 3,
    ]
    assert np.array_equal(results[0][1], results[2][1])
    assert not np.array_equal(results[0][0], results[0][1])


def test_the_public_way_in() -> None:
    model = polyexport.load_model(provider="cpu")
    [[red]] = model.colorize([np.full((20, 30, 3), 255, np.uint8)], ["red"])
    assert red.shape == (20, 30, 3)


def test_a_batch_is_its_images_one_by_one(tiny_model: Model) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (5, 12, 20, 3), dtype=np.uint8)
    color = rng.integers(0, 256, (5, 3), dtype=np.uint8)
    single = np.concatenate([tiny_model.run(image[i : i + 1], color[i : i + 1]) for i in range(5)])
    assert np.array_equal(tiny_model.run(image, color), single)


@pytest.mark.parametrize(
    ("image", "color", "said"),
    [
        (np.zeros((1, 8, 8, 3), np.float32), np.zeros((1, 3), np.uint8), "float32"),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((1, 3), np.uint8), "give uint8"),
        (np.zeros((1, 8, 8, 4), np.uint8), np.zeros((1, 3), np.uint8), "give uint8"),
        (np.zeros((0, 8, 8, 3), np.uint8), np.zeros((0, 3), np.uint8), "give uint8"),
        (np.zeros((1, 8, 9, 3), np.uint8), np.zeros((1, 3), np.uint8), "cannot take 9x8.*multiples of 4"),
        (np.zeros((2, 8, 8, 3), np.uint8), np.zeros((1, 3), np.uint8), "color is uint8"),
        (np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 3), np.int64), "color is int64"),
    ],
)
def test_inputs_that_break_the_contract_are_refused(
    tiny_model: Model, image: np.ndarray, color: np.ndarray, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        tiny_model.run(image, color)


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_arrays_that_are_no_image_are_refused(tiny_model: Model, image: np.ndarray) -> None:
    with pytest.raises(UsageError, match="H, W, 3"):
        tiny_model.colorize([image], ["red"])


def test_a_model_without_the_contract_is_refused(
    relu_model: onnx.ModelProto, with_metadata: Callable[[str | None], bytes], tiny_model: Model
) -> None:
    with pytest.raises(ContractError, match=METADATA_KEY):
        Model.from_bytes(with_metadata(None), CPU)
    with pytest.raises(ContractError, match="version"):
        Model.from_bytes(with_metadata("{}"), CPU)
    helper.set_model_props(relu_model, {METADATA_KEY: tiny_model.contract.to_json()})
    with pytest.raises(ContractError, match="inputs are x"):
        Model.from_bytes(relu_model.SerializeToString(), CPU)


def test_a_contract_that_lies_about_the_graph_is_refused(
    with_metadata: Callable[[str | None], bytes], tiny_model: Model
) -> None:
    lie = replace(tiny_model.contract, conditioning="vocabulary", palette=(("red", (255, 0, 0)),))
    with pytest.raises(ContractError, match="color"):
        Model.from_bytes(with_metadata(lie.to_json()), CPU)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.999])
def test_a_truncated_file_is_refused_by_name(tiny_model_path: Path, tmp_path: Path, kept: float) -> None:
    data = tiny_model_path.read_bytes()
    (tmp_path / "cut.onnx").write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(ContractError, match="cut.onnx"):
        load_model(tmp_path / "cut.onnx", provider="cpu")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="cannot be read"):
        load_model(tmp_path / "missing.onnx")


def test_a_vocabulary_takes_its_names_and_values_and_names_the_nearest(vocabulary_model: Model) -> None:
    assert vocabulary_model.color_value("lime") == 1
    assert vocabulary_model.color_value("#0000ff") == 2
    with pytest.raises(ColorError, match="nearest are red"):
        vocabulary_model.color_value("tomato")
    assert vocabulary_model.colorize([np.zeros((8, 8, 3), np.uint8)], ["blue"])[0][0].shape == (8, 8, 3)


def changed(path: Path, change: Callable[[onnx.ModelProto], None]) -> bytes:
    model = onnx.load(path)
    change(model)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("value", [0.0, float("nan"), 3.0])
def test_a_model_with_other_weights_is_refused(tiny_model_path: Path, value: float) -> None:
    def tamper(model: onnx.ModelProto) -> None:
        for weight in (each for each in model.graph.initializer if len(each.dims) == 4):
            weight.CopyFrom(numpy_helper.from_array(np.full(list(weight.dims), value, np.float32), weight.name))

    with pytest.raises(ContractError, match="golden sample"):
        Model.from_bytes(changed(tiny_model_path, tamper), CPU)


def test_a_model_of_another_shape_is_refused(tiny_model_path: Path) -> None:
    def one_image(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1

    with pytest.raises(ContractError, match=r"inputs are .*\[1, \?, \?, 3\]"):
        Model.from_bytes(changed(tiny_model_path, one_image), CPU)


def test_a_golden_sample_that_is_none_is_refused(
    tiny_model: Model, with_metadata: Callable[[str | None], bytes]
) -> None:
    for png in ("", "!", base64.b64encode(b"text").decode()):
        lie = replace(tiny_model.contract, golden=replace(tiny_model.contract.golden, image_png=png))
        with pytest.raises(ContractError, match="golden sample cannot be repeated"):
            Model.from_bytes(with_metadata(lie.to_json()), CPU)


def test_pillow_images_are_read_as_their_files_are(tiny_model: Model, tmp_path: Path) -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (16, 16, 4), dtype=np.uint8)
    deep = np.random.default_rng(0).integers(0, 65536, (16, 16)).astype(np.uint16)
    for pixels in (rgba, deep):
        Image.fromarray(pixels).save(tmp_path / "file.png")
        from_file, from_memory = tiny_model.colorize([tmp_path / "file.png", Image.fromarray(pixels)], ["red"])
        assert np.array_equal(from_file[0], from_memory[0])


def test_results_belong_to_the_caller(tiny_model: Model) -> None:
    for extent in (8, 32, 100):
        [[colored]] = tiny_model.colorize([np.zeros((extent, extent, 3), np.uint8)], ["red"])
        colored[:] = 0


def test_an_unknown_size_is_refused(tiny_model: Model) -> None:
    with pytest.raises(UsageError, match="unknown size"):
        tiny_model.framing("fitt")  # type: ignore[arg-type]


def test_a_pipe_or_a_device_is_no_model(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(ContractError, match="cannot be read"):
            load_model(path)
