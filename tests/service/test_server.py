"""The server's process with few file descriptors."""

import socket
import subprocess
import sys
from contextlib import ExitStack
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits of open files")


def test_with_few_descriptors_there_are_fewer_connections_and_all_get_in(serve: Any) -> None:
    service = serve(prefix=("sh", "-c", 'ulimit -n 64; exec "$@"', "sh"))
    with ExitStack() as stack:
        for _ in range(30):
            waiting = stack.enter_context(socket.create_connection(("127.0.0.1", service.port), 30))
            waiting.sendall(b"GET / HTTP/1.1\r\n")
        assert service.ask("GET", "/health")[0].status == 200
    service.process.terminate()
    warning, *_ = service.process.communicate(timeout=30)[1].splitlines()
    assert warning.startswith("warning: at most ")
    assert warning.endswith("connections can be open, not 1000; raise the limit of open files (ulimit -n)")


def test_with_too_few_it_does_not_start() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "polyexport.cli.main", "serve", "--provider", "cpu", "--port", str(port)]
    done = subprocess.run(["sh", "-c", 'ulimit -n 30; exec "$@"', "sh", *command], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: this process may open 30 files at a time")
