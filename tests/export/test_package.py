import base64
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest

from polyexport.color import color_of
from polyexport.contract import METADATA_KEY
from polyexport.dataset import PairPixels, write_pairs
from polyexport.errors import OutputError, ParityError
from polyexport.export import package
from polyexport.export.package import export_checkpoint
from polyexport.export.parity import ParityOptions
from polyexport.image import decode
from polyexport.model import Model, load_model
from trainer.polygons import draw


def test_the_same_checkpoint_gives_the_same_bytes(tiny_checkpoint: Path, tiny_model_path: Path, tmp_path: Path) -> None:
    result = export_checkpoint(tiny_checkpoint, tmp_path / "again.onnx")

    assert (tmp_path / "again.onnx").read_bytes() == tiny_model_path.read_bytes()
    assert result.sha256 == hashlib.sha256(tiny_model_path.read_bytes()).hexdigest()


def test_the_contract_says_where_the_model_comes_from(tiny_checkpoint: Path, tiny_model: Model) -> None:
    contract = tiny_model.contract

    assert contract.checkpoint_sha256 == hashlib.sha256(tiny_checkpoint.read_bytes()).hexdigest()
    assert (contract.size_multiple, contract.training_size, contract.opset) == (4, 32, 21)
    assert set(contract.versions) == {"polyexport", "torch", "onnx", "onnxscript", "onnxsim"}
    assert contract.parity.sizes == (64, 128, 256)
    assert contract.parity.batches == (1, 2, 5)
    assert contract.parity.max_abs_diff <= 1e-4


def test_the_golden_sample_repeats(tiny_model: Model) -> None:
    golden = tiny_model.contract.golden
    image, colored = (decode(base64.b64decode(png)).pixels for png in (golden.image_png, golden.colored_png))
    assert np.array_equal(tiny_model.run(image[None], np.array([golden.color], np.uint8))[0], colored)


def test_quality_on_a_data_set_goes_into_the_file(tiny_checkpoint: Path, tmp_path: Path) -> None:
    drawing = draw(np.random.default_rng(0), 32)
    pixels = PairPixels(image=drawing.image, color=color_of(drawing.color), colored=drawing.colored)
    write_pairs(tmp_path / "set", [("a", pixels)])
    result = export_checkpoint(tiny_checkpoint, tmp_path / "q.onnx", quality_data=tmp_path / "set")
    quality = load_model(tmp_path / "q.onnx", provider="cpu").contract.quality

    assert quality == result.quality
    assert quality is not None
    assert (quality.data, quality.images) == ("set", 1)


def test_without_parity_no_file_gets_the_name(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old.onnx").write_bytes(b"old")
    monkeypatch.setattr(package, "ParityOptions", lambda: ParityOptions(sizes=(64,), max_abs_diff=-1.0))
    with pytest.raises(ParityError, match="max abs diff"):
        export_checkpoint(tiny_checkpoint, tmp_path / "old.onnx")
    assert os.listdir(tmp_path) == ["old.onnx"]
    assert (tmp_path / "old.onnx").read_bytes() == b"old"


def test_a_full_disk_leaves_no_file(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space"):
        export_checkpoint(tiny_checkpoint, tmp_path / "m.onnx")
    assert os.listdir(tmp_path) == []


def test_any_onnx_tool_can_read_the_contract(tiny_model_path: Path) -> None:
    model = onnx.load(tiny_model_path)
    onnx.checker.check_model(model, full_check=True)
    assert [entry.key for entry in model.metadata_props] == [METADATA_KEY]
    assert json.loads(model.metadata_props[0].value)["contract_version"] == 1
