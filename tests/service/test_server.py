"""The server's socket, and its process with few file descriptors."""

import asyncio
import socket
import subprocess
import sys
from contextlib import ExitStack
from typing import Any

import pytest

from polyexport.model.file import default_model_path
from polyexport.service.options import ServiceOptions
from polyexport.service.server import _bound_socket

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


@pytest.mark.parametrize("host", ["127.0.0.1", "::"])
def test_the_body_of_an_answer_does_not_wait_for_the_clients_acknowledgment(host: str) -> None:
    async def delays() -> int:
        seen: asyncio.Queue[int] = asyncio.Queue()

        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            option = socket.IPPROTO_TCP, socket.TCP_NODELAY
            await seen.put(writer.get_extra_info("socket").getsockopt(*option))
            writer.close()

        async with await asyncio.start_server(accepted, sock=bound):
            _, writer = await asyncio.open_connection("localhost", bound.getsockname()[1])
            value = await seen.get()
            writer.close()
        return value

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with _bound_socket(ServiceOptions(model=default_model_path(), host=host, port=port)) as bound:
        assert asyncio.run(delays()) == 1
