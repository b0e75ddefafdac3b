"""`polyexport serve` that does not come to serve."""

import socket
from collections.abc import Callable
from pathlib import Path

Refused = Callable[..., str]


def test_a_port_in_use_is_refused_at_once(refused: Refused) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port} (Address already in use)" in refused(2, "serve", "--port", port)


def test_a_model_or_provider_that_cannot_be_used(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert "no.onnx" in refused(4, "serve", "--port", port, "--model", tmp_path / "no.onnx")
    assert "tensorrt" in refused(6, "serve", "--port", port, "--provider", "tensorrt")
