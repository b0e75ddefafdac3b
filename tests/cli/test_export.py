"""`export`, `verify` and `infer` on networks of every kind, run as users run them."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from signing_keys import KeyPair

Cli = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., str]

NETWORKS = Path(__file__).parents[1] / "networks"


@pytest.fixture
def seed(tmp_path: Path) -> Path:
    """A working folder with the code of a network in the seed's style, and what its training left behind."""
    shutil.copy(NETWORKS / "seed_style.py", tmp_path / "seed_style.py")
    code = "import seed_style, pathlib; seed_style.save_seed(pathlib.Path('seed.pth'), base=2)"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    return tmp_path


SEED = ("seed_style:SeedUNet", "--weights", "seed.pth", "--argument", "base=2", "--value-range", "0..1")


@pytest.mark.slow
def test_a_network_in_the_seeds_style_from_code_to_pictures(
    cli: Cli, refused: Refused, seed: Path, drawings: Path, keys: KeyPair
) -> None:
    done = cli("export", *SEED, "--size", 256, "-o", "seed.onnx", "--sign", keys.private, "--json", check=0)
    report = json.loads(done.stdout)
    verified = cli("verify", "seed.onnx", "--provider", "cpu", "--key", keys.public, check=0)
    cli("infer", drawings, "--color", "red", "--model", "seed.onnx", check=0)

    assert report["signature"] == "seed.onnx.sig"
    assert report["parity"]["sizes"] == [[256, 256]]
    assert report["parity"]["colors"] == 20
    assert re.search(r"seed\.onnx: signed with the private key of .*, consistent with itself", verified.stdout)
    with Image.open(seed / "drawings-colored" / "red" / "0.png") as image:
        assert image.size == (64, 64)  # fitted to 256x256 and brought back
    assert "only 256x256 pixels" in refused(
        2, "infer", drawings, "--color", "red", "-m", "seed.onnx", "--size", "native", "-o", "o"
    )
    assert "nearest are navy" in refused(2, "infer", drawings, "--color", "#000070", "-m", "seed.onnx", "-o", "o")

    (seed / "net.toml").write_text(
        'network = "seed_style:SeedUNet"\nweights = "seed.pth"\nvalue-range = "0..1"\nsize = 256\n'
        "[arguments]\nbase = 2\n"
    )
    cli("export", "net.toml", check=0)
    assert (seed / "net.onnx").read_bytes() == (seed / "seed.onnx").read_bytes()
    assert "verified, equal to net.toml" in cli("verify", "net.onnx", "--against", "net.toml", check=0).stdout


@pytest.mark.slow
def test_embeddings_as_the_second_input_give_the_same_pictures(
    cli: Cli, drawings: Path, tiny_checkpoint: Path, tiny_model_path: Path, tmp_path: Path
) -> None:
    cli("export", tiny_checkpoint, "--color-input", "embedding", "-o", "e.onnx", check=0)
    shown = cli("inspect", "e.onnx", check=0).stdout
    for model, output in ((tiny_model_path, "a"), ("e.onnx", "b")):
        colors = ("--color", "teal", "--color", "#123456")
        cli("infer", drawings, *colors, "-m", model, "-o", output, "--provider", "cpu", check=0)

    assert re.search(r"input\s+color_embedding float32 \[batch, 5\]", shown)
    assert pictures(tmp_path / "a") == pictures(tmp_path / "b")


@pytest.mark.slow
def test_a_palette_gives_the_same_pictures_whatever_the_batch(
    cli: Cli, drawings: Path, tiny_checkpoint: Path, tiny_model_path: Path, tmp_path: Path
) -> None:
    cli("export", tiny_checkpoint, "--palette", "-o", "p.onnx", check=0)
    colors = [word for name in ("red", "teal", "#123456") for word in ("--color", name)]
    colors += ["--provider", "cpu"]
    cli("infer", drawings, *colors, "-m", tiny_model_path, "-o", "a", check=0)
    for batch in (1, 4, 100):
        cli("infer", drawings, *colors, "-m", "p.onnx", "-o", f"b{batch}", "-b", batch, check=0)
        assert pictures(tmp_path / f"b{batch}") == pictures(tmp_path / "a")


def pictures(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): np.asarray(Image.open(path)).tobytes() for path in folder.rglob("*.png")}


@pytest.mark.slow
def test_the_name_of_the_file_says_what_it_is(cli: Cli, tiny_checkpoint: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_checkpoint, tmp_path / "net.safetensors")
    cli("export", "net.safetensors", "--precision", "fp16", "--palette", "--min-speedup", 0, check=0)
    assert (tmp_path / "net-fp16-palette.onnx").exists()


@pytest.mark.slow
def test_what_cannot_be_exported_ends_in_one_line(
    cli: Cli, refused: Refused, seed: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    before = sorted(os.listdir(tmp_path))
    assert "--weights" in refused(2, "export", "seed_style:SeedUNet")
    assert "does not go with a checkpoint" in refused(2, "export", tiny_checkpoint, "--size", 64)
    assert "no_such" in refused(2, "export", "no_such:Net", "--weights", "seed.pth")
    assert "give the size that it takes" in refused(2, "export", *SEED, "--size", 128)
    assert "downs.0.0.weight" in refused(4, "export", *SEED[:4], "base=4", *SEED[5:], "--size", 256)
    assert "0..x" in refused(2, "export", *SEED[:-1], "0..x", "--size", 256)
    assert sorted(set(os.listdir(tmp_path)) - {"__pycache__"}) == before


@pytest.mark.slow
def test_verify_refuses_what_was_changed(
    cli: Cli, refused: Refused, tiny_model_path: Path, vocabulary_checkpoint: Path, tmp_path: Path
) -> None:
    data = bytearray(tiny_model_path.read_bytes())
    data[len(data) // 3] ^= 4
    (tmp_path / "changed.onnx").write_bytes(data)
    (tmp_path / "short.onnx").write_bytes(data[:-50])

    refused(4, "verify", "changed.onnx")
    refused(4, "verify", "short.onnx")
    assert "conditioning" in refused(
        4, "verify", tiny_model_path, "--provider", "cpu", "--against", vocabulary_checkpoint, "-q"
    )
    report = json.loads(cli("verify", tiny_model_path, "--provider", "cpu", "--json", check=0).stdout)
    assert report["golden_difference_levels"] == 0


@pytest.mark.slow
def test_of_two_sets_of_weights_one_has_to_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    from polyexport.cli.export import export
    from polyexport.errors import ExitCode, UsageError

    monkeypatch.syspath_prepend(NETWORKS)
    from tiny_networks import EmbeddingNet

    torch.save({"model": EmbeddingNet().state_dict(), "ema": EmbeddingNet().state_dict()}, tmp_path / "w.pth")
    output = tmp_path / "m.onnx"
    options: dict[str, Any] = {"weights": tmp_path / "w.pth", "conditioning": "embedding", "embedding_dim": 5}
    with pytest.raises(UsageError, match="model, ema; choose one with --weights-key, such as") as caught:
        export("tiny_networks:EmbeddingNet", output, size=16, **options)
    assert caught.value.exit_code is ExitCode.USAGE
    assert not output.exists()

    export("tiny_networks:EmbeddingNet", output, size=16, weights_key="ema", json_report=True, **options)
    done = capsys.readouterr()
    assert f"took the weights under ema of {tmp_path / 'w.pth'}" in done.err.splitlines()
    report = json.loads(done.out)
    assert (report["weights_key"], len(report["remarks"])) == ("ema", 2)
