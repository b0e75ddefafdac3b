"""`polyexport demo` that writes a folder, or does not come to serve."""

import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., str]

RUNTIME = Path(__file__).parents[2] / "polyexport" / "demo" / "runtime" / "ort.wasm.min.mjs"
pytestmark = pytest.mark.skipif(not RUNTIME.exists(), reason="built without onnxruntime-web")


@pytest.mark.slow
def test_the_page_as_a_folder(cli: Cli, refused: Refused, tmp_path: Path) -> None:
    done = cli("demo", "--export", "site", check=0)
    assert done.stdout == "site\n"
    assert "serve them over HTTP" in done.stderr
    assert (tmp_path / "site" / "index.html").exists()
    assert "not empty" in refused(2, "demo", "--export", "site")
    cli("demo", "--export", "site", "--overwrite", check=0)
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_what_is_refused(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no model")
    (tmp_path / "file").write_bytes(b"")
    assert "no.onnx is refused" in refused(4, "demo", "-m", "no.onnx")
    assert "no folder" in refused(5, "demo", "--export", "file")
    assert "--overwrite was given without --export" in refused(2, "demo", "--overwrite")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port} (Address already in use)" in refused(2, "demo", "--port", port)
