"""Options of polyexport train that other commands depend on."""

from pathlib import Path

import pytest

from polyexport.cli.train import train
from polyexport.export.export import export_source
from polyexport.export.source.load import load_source
from trainer.checkpoint import load_checkpoint


def test_a_checkpoint_in_float16_is_exported(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.safetensors"
    train(output=path, initial=tiny_checkpoint, size=64, steps=1, batch_size=2, workers=0, float16=True)
    assert "1 steps" in capsys.readouterr().out
    assert load_checkpoint(path).float16_tensors > 0
    export_source(load_source(path), tmp_path / "m.onnx")
