from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx_files import FILES, inputs, keras, levels

from polyexport.bench.foreign import foreign_loop
from polyexport.errors import UsageError

Array = np.ndarray[Any, Any]
IMAGES: Array = np.random.default_rng(0).integers(0, 256, (2, 16, 24, 3), np.uint8)


def ran(file: Path, feeds: dict[str, Array]) -> Array:
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (result,) = session.run(None, feeds)
    return np.asarray(result)


def as_levels(values: Array, low: float, high: float) -> Array:
    return np.asarray(np.clip(np.rint((values - low) * (255 / (high - low))), 0, 255).astype(np.uint8))


def test_a_file_of_keras_is_fed_as_it_was_trained(tmp_path: Path) -> None:
    file = keras(tmp_path / "keras.onnx")
    expected = as_levels(ran(file, {"input_1:0": (IMAGES / 127.5 - 1).astype(np.float32)}), -1, 1)

    loop = foreign_loop(file, {"image": IMAGES}, "image", expected)

    assert loop.how.endswith("NHWC of -1..1, result -1..1")
    assert np.abs(loop.call().astype(int) - expected).max() <= 1


def test_levels_are_handed_on_as_they_are(tmp_path: Path) -> None:
    file = levels(tmp_path / "levels.onnx")
    expected = ran(file, {"x": IMAGES})

    loop = foreign_loop(file, {"image": IMAGES}, "image", expected)

    assert loop.how.endswith("NHWC of 0..255, result 0..255")
    assert np.array_equal(loop.call(), expected)


def test_a_file_of_one_image_at_a_time_is_called_for_each(tmp_path: Path) -> None:
    file = FILES["half"](tmp_path / "half.onnx")
    images = np.random.default_rng(1).integers(0, 256, (3, 32, 48, 3), np.uint8)
    planes = (images / 255).transpose(0, 3, 1, 2).astype(np.float16)
    name = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"]).get_inputs()[0].name
    results = np.concatenate([ran(file, {name: one[None]}) for one in planes])
    expected = as_levels(results.astype(np.float32).transpose(0, 2, 3, 1), 0, 1)

    loop = foreign_loop(file, {"image": images}, "image", expected)

    assert loop.how.endswith("NCHW of 0..1, result 0..1")
    assert np.abs(loop.call().astype(int) - expected).max() <= 1


def test_conditions_go_to_the_inputs_of_their_names(tmp_path: Path) -> None:
    file = inputs(tmp_path / "inputs.onnx")
    mask = np.random.default_rng(1).integers(0, 256, (2, 16, 24, 1), np.uint8)
    rows: dict[str, Array] = {
        "mask": mask, "sigma": np.array([0.2, 0.4], np.float32), "style": np.array([0, 1], np.int64),
    }  # fmt: skip
    image = {"image": IMAGES}
    with pytest.raises(UsageError, match="its input gain has no counterpart in the model"):
        foreign_loop(file, image | rows, "image", IMAGES)

    model = onnx.load(file)
    del model.graph.input[-1]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0.5, np.float32), "gain"))
    onnx.save(model, file)
    planes, second = (each.transpose(0, 3, 1, 2).astype(np.float32) / 255 for each in (IMAGES, mask))
    expected = as_levels(ran(file, {**rows, "x": planes, "mask": second}).transpose(0, 2, 3, 1), 0, 1)
    assert np.abs(foreign_loop(file, image | rows, "image", expected).call().astype(int) - expected).max() <= 1


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    file = levels(tmp_path / "levels.onnx")
    with pytest.raises(UsageError, match=r"in any of the usual ways: the nearest is .* levels off in the mean"):
        foreign_loop(file, {"image": IMAGES}, "image", 255 - ran(file, {"x": IMAGES}))
    larger = np.zeros((2, 32, 48, 3), np.uint8)
    with pytest.raises(UsageError, match=r"it makes \[1, 16, 24, 3\], the model \[1, 32, 48, 3\]"):
        foreign_loop(file, {"image": IMAGES}, "image", larger)


def test_what_is_no_onnx_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"no model")
    with pytest.raises(UsageError, match="cannot be compared with"):
        foreign_loop(tmp_path / "a.onnx", {"image": IMAGES}, "image", IMAGES)
    saved = keras(tmp_path / "b.onnx")
    onnx.save(onnx.load(saved), saved, save_as_external_data=True, size_threshold=0, location="w.bin")
    with pytest.raises(UsageError, match="keeps data in other files"):
        foreign_loop(saved, {"image": IMAGES}, "image", IMAGES)
