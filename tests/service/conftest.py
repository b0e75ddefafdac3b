import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from polyexport.model.file import default_model_path
from polyexport.model.model import Model
from polyexport.model.placed_run import run_placed
from polyexport.pipeline.decoding.pool import DecodingPool
from polyexport.service.app import build_app
from polyexport.service.batcher import Batcher
from polyexport.service.metrics import Metrics
from polyexport.service.options import ServiceOptions
from polyexport.service.routes import Routes


@dataclass
class Service:
    """A running service."""

    process: subprocess.Popen[str]
    port: int

    def connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[HTTPResponse, bytes]:
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer, answer.read()

    def tree(self) -> set[int]:
        """The processes that it has started, and the ones that those have started."""
        parents = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        found = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return found - {self.process.pid}

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=60)


Serve = Callable[..., Service]


def start(*options: str, prefix: Sequence[str] = ()) -> Service:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [*prefix, sys.executable, "-m", "polyexport.cli.main", "serve", "--port", str(port), "--provider", "cpu"]
    environment = os.environ | {"NO_COLOR": "1"}
    process = subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if line != f"http://127.0.0.1:{port}\n":
        raise AssertionError(process.communicate()[1])
    return Service(process, port)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    running = start("--max-megabytes", "1", "--max-megapixels", "2")
    yield running
    running.end()


@pytest.fixture
def serve() -> Iterator[Serve]:
    running: list[Service] = []

    def go(*options: str, prefix: Sequence[str] = ()) -> Service:
        running.append(start(*options, prefix=prefix))
        return running[-1]

    yield go
    for one in running:
        one.end()


@dataclass
class App:
    """The application of the service with a real model, called without a socket."""

    app: Any

    def ask(
        self,
        method: str,
        path: str,
        headers: Sequence[tuple[bytes, bytes]] = (),
        body: bytes = b"",
        query: bytes = b"",
        host: bytes | None = b"localhost",
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer; the body of the request comes in pieces of 64 KiB."""
        pieces = [body[first : first + (1 << 16)] for first in range(0, len(body), 1 << 16)] or [b""]
        messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        messages[-1]["more_body"] = False
        headers = list(headers) if host is None else [(b"host", host), *headers]
        answer: list[Any] = []

        async def receive() -> Any:
            if messages:
                return messages.pop(0)
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Any) -> None:
            answer.append(message)

        scope = {
            "type": "http", "http_version": "1.1", "method": method, "path": path, "raw_path": path.encode(),
            "query_string": query, "root_path": "", "scheme": "http", "headers": headers, "state": {},
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000),
        }  # fmt: skip
        asyncio.run(self.app(scope, receive, send))
        start, *rest = answer
        told = {name.decode("latin-1"): value.decode("latin-1") for name, value in start["headers"]}
        return start["status"], told, b"".join(message.get("body", b"") for message in rest)


@pytest.fixture(scope="session")
def app(shipped: Model) -> Iterator[App]:
    options = ServiceOptions(model=default_model_path())
    metrics = Metrics()
    with (
        DecodingPool(jobs=1, max_pixels=options.limits.max_pixels) as pool,
        Batcher(
            partial(run_placed, shipped), max_batch_size=1, max_wait_ms=0, max_queued=4, max_queued_s=30
        ) as batcher,
    ):
        pool.start()
        yield App(build_app(Routes(shipped, pool, batcher, metrics, options), metrics, options))
