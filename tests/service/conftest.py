import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest


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
