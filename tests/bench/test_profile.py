from pathlib import Path

import numpy as np
import pytest

from polyexport.bench.profile import count_macs, profile
from polyexport.model.inspect import inspect_model
from polyexport.model.model import Model

FEEDS = {"image": np.full((1, 192, 192, 3), 255, np.uint8), "color": np.zeros((1, 3), np.uint8)}


@pytest.mark.parametrize("name", ["small.onnx", "small-int8.onnx"])
def test_multiplications_are_those_that_the_inspection_counts(name: str, shipped_path: Path) -> None:
    path = Path(__file__).parents[2] / "artifacts" / name
    macs = inspect_model(path).macs
    assert macs is not None
    assert count_macs(path.read_bytes(), FEEDS) == macs.total
    assert count_macs(path.read_bytes(), {name: np.repeat(value, 3, 0) for name, value in FEEDS.items()}) == sum(
        (3 * macs.by_type["Conv"], 3 * macs.by_type["Gemm"])
    )


@pytest.mark.parametrize("name", ["small.onnx", "small-int8.onnx"])
def test_the_layers_are_all_there_is(name: str) -> None:
    model = (Path(__file__).parents[2] / "artifacts" / name).read_bytes()
    found = profile(model, FEEDS, limit_gflop_per_s=100.0, threads=1, runs=3)
    assert sum(layer.macs or 0 for layer in found.layers) == count_macs(model, FEEDS)
    assert 0.5 * found.run_ms < found.layers_ms < 1.05 * found.run_ms
    assert {layer.provider for layer in found.layers} == {"CPUExecutionProvider"}
    assert all(layer.gflop_per_s is None for layer in found.layers if layer.operator == "Concat")


def test_it_leaves_no_file_behind(
    tiny_model: Model, tiny_model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    feeds = {"image": FEEDS["image"][:, :16, :16], "color": FEEDS["color"]}
    profile(tiny_model_path.read_bytes(), feeds, limit_gflop_per_s=1.0, runs=2)
    assert list(tmp_path.iterdir()) == []
