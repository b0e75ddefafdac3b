import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from polyexport.model.loading.load import load_model

Cli = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., str]


def test_a_package_that_runs(cli: Cli, shipped_path: Path, tmp_path: Path) -> None:
    said = cli("package", shipped_path, "-o", "given", check=0).stdout
    digest = hashlib.sha256(shipped_path.read_bytes()).hexdigest()
    sizes = [path.stat().st_size for path in (tmp_path / "given").rglob("*") if path.is_file()]
    assert said.startswith(f"given: {len(sizes)} files, {sum(sizes)} bytes, model {digest}\n")
    subprocess.run(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=tmp_path / "given", check=True)
    command = [sys.executable, "-I", "given/run.py", "given/sample.png", "--color", "red"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert (tmp_path / "colored" / "red" / "sample.png").exists()


def test_json_name_and_overwrite(cli: Cli, refused: Refused, shipped_path: Path, tmp_path: Path) -> None:
    cli("package", shipped_path, "-o", "given", "-q", check=0)
    assert "--overwrite" in refused(2, "package", shipped_path, "-o", "given")
    made = cli("package", shipped_path, "-o", "given", "--overwrite", "--name", "fill-2", "--json", check=0)
    document = json.loads(made.stdout)

    assert document["name"] == "fill-2"
    assert document["sha256"] == load_model(shipped_path, provider="cpu").sha256
    assert {file["name"] for file in document["files"]} >= {"run.py", "triton/fill-2/config.pbtxt"}
    assert document["size_bytes"] == sum(file["size_bytes"] for file in document["files"])
    assert not (tmp_path / "given" / "triton" / "small").exists()


@pytest.mark.parametrize("name", ["../x", ""])
def test_a_name_that_triton_would_refuse(name: str, refused: Refused, shipped_path: Path, tmp_path: Path) -> None:
    assert "Triton model name" in refused(2, "package", shipped_path, "-o", "given", "--name", name)
    assert not (tmp_path / "given").exists()


def test_what_cannot_be_packaged(refused: Refused, tmp_path: Path) -> None:
    assert "cannot be read" in refused(4, "package", "missing.onnx", "-o", "given")
    (tmp_path / "m.onnx").write_bytes(b"no model")
    assert "m.onnx is refused" in refused(4, "package", "m.onnx", "-o", "given")
    (tmp_path / "file").touch()
    assert "no folder" in refused(5, "package", "m.onnx", "-o", "file")
    assert not (tmp_path / "given").exists()
