"""Options of polyexport train that other commands depend on."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from trainer.checkpoint import load_checkpoint

Cli = Callable[..., subprocess.CompletedProcess[str]]


def test_a_checkpoint_in_float16_is_exported(cli: Cli, tiny_checkpoint: Path, tmp_path: Path) -> None:
    options = ("--initial", tiny_checkpoint, "--size", 64, "--steps", 1, "-b", 2, "--workers", 0)
    cli("train", *options, "-o", "m.safetensors", "--float16", check=0)
    assert load_checkpoint(tmp_path / "m.safetensors").float16_tensors > 0
    assert "max abs diff" in cli("export", "m.safetensors", check=0).stderr
