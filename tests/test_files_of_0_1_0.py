"""Files that version 0.1.0 wrote before the modules were rearranged: they still load, and interrupted work goes on.

``tests/files_of_0_1_0`` holds two checkpoints, the models that were exported from them, a data set, a folder of outputs
with its journal, a benchmark's report, and a training that was interrupted at step 6 of 12.
"""

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from polyexport.bench.document import read_report
from polyexport.data.drawing_config import DrawingConfig
from polyexport.data.pairs import read_pairs
from polyexport.model.loading.load import load_model
from trainer.batches import SizedBatch
from trainer.checkpoint import load_checkpoint
from trainer.config import TrainConfig
from trainer.network import ModelConfig
from trainer.train import train

FILES = Path(__file__).with_name("files_of_0_1_0")
MODELS = sorted(file.name for file in FILES.glob("*.onnx"))


def command(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "polyexport.cli.main", *arguments], cwd=folder, capture_output=True, text=True
    )


def test_there_is_a_model_of_every_kind() -> None:
    assert MODELS == [
        "rgb-embedding.onnx",
        "rgb-fp16.onnx",
        "rgb-int8.onnx",
        "rgb.onnx",
        "vocabulary-embedding-many.onnx",
        "vocabulary.onnx",
    ]


@pytest.mark.parametrize("name", MODELS)
def test_models_load_and_repeat_their_golden_samples(name: str) -> None:
    model = load_model(FILES / name, provider="cpu")
    assert model.golden_difference <= 0.5
    [[red]] = model.colorize([FILES / "inputs" / "0.png"], ["red"])
    assert red.shape == (48, 48, 3)


def test_a_model_makes_the_pixels_that_it_made() -> None:
    model = load_model(FILES / "rgb.onnx", provider="cpu")
    for number in range(3):
        [[red]] = model.colorize([FILES / "inputs" / f"{number}.png"], ["red"])
        earlier = np.asarray(Image.open(FILES / "outputs" / "red" / f"{number}.png").convert("RGB"))
        # Another processor may round a few values the other way.
        assert np.abs(red.astype(int) - earlier).max() <= 1


def test_a_run_goes_on_where_it_ended(tmp_path: Path) -> None:
    shutil.copytree(FILES, tmp_path, dirs_exist_ok=True)
    outputs = {file: file.read_bytes() for file in sorted((tmp_path / "outputs").rglob("*.png"))}
    assert len(outputs) == 6
    colors = ("--color", "red", "--color", "#1e90ff")
    arguments = ("infer", "inputs", *colors, "--model", "rgb.onnx", "--provider", "cpu", "-o", "outputs", "--json")
    done = command(*arguments, folder=tmp_path)
    assert done.returncode == 3, done.stderr  # the damaged one
    states = [line["status"] for line in map(json.loads, done.stdout.splitlines()) if "status" in line]
    assert sorted(states) == ["failed", "skipped", "skipped", "skipped"]
    assert {file: file.read_bytes() for file in sorted((tmp_path / "outputs").rglob("*.png"))} == outputs


def test_a_report_is_read_as_a_baseline() -> None:
    report = read_report(FILES / "bench.json")
    assert [row.scenario for row in report.rows] == ["latency", "throughput", "throughput"]


def test_a_data_set_and_checkpoints_are_read() -> None:
    assert len(read_pairs(FILES / "set")) == 2
    assert load_checkpoint(FILES / "rgb.safetensors").model.config.conditioning == "rgb"
    assert load_checkpoint(FILES / "vocabulary.safetensors").model.config.conditioning == "vocabulary"


@pytest.mark.training
def test_an_interrupted_training_is_resumed(tmp_path: Path) -> None:
    shutil.copytree(FILES / "training", tmp_path / "training")
    shutil.copy(FILES / "training.safetensors", tmp_path)
    lines: list[str] = []
    config = TrainConfig(
        output=tmp_path / "training.safetensors",
        model=ModelConfig(channels=(4, 8), embedding_dim=8),
        mix=(SizedBatch(size=16, batch_size=8),),
        size=16,
        drawings=DrawingConfig(),
        steps=12,
        validate_every=3,
        workers=0,
    )
    result = train(config, resume=True, report=lines.append)
    assert (result.steps, result.images) == (12, 96)
    assert any("step 9" in line for line in lines)
    assert not any("step 6:" in line for line in lines)


def test_names_that_moved_are_still_imported_with_a_warning() -> None:
    import polyexport.model
    from polyexport.model.file import default_model_path
    from polyexport.runtime.onnx_bytes import graph_sha256

    with pytest.warns(DeprecationWarning, match=r"import graph_sha256 from polyexport\.runtime\.onnx_bytes"):
        assert importlib.import_module("polyexport.modelfile").graph_sha256 is graph_sha256
    with pytest.warns(DeprecationWarning, match=r"import it from polyexport\.model\.file"):
        assert polyexport.model.default_model_path is default_model_path
    with pytest.raises(AttributeError):
        _ = polyexport.model.nothing
