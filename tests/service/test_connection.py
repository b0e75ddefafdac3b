"""Slow and many clients: the service's server, with an application that gives long answers."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any

import pytest

from polyexport.model.file import default_model_path
from polyexport.service.options import Limits, ServiceOptions
from polyexport.service.server import Server

ANSWER = bytes(8 << 20)
SHORT_S = 0.3
LIMITS = {
    "head_timeout_s": SHORT_S,
    "answer_timeout_s": SHORT_S,
    "rest_timeout_s": SHORT_S,
    "body_timeout_s": SHORT_S,
    "max_connections": 8,
    "max_connections_per_address": 8,
}
"""Short times, so that each ends by itself; a test that is about one time has the others long."""

LONG = {name: 60.0 for name in LIMITS if name.endswith("_s")} | {"max_connections": 8}


async def program(scope: Any, receive: Any, send: Any) -> None:
    """Answers /long with 8 MiB, /read after its whole body, and everything else at once."""
    if scope["path"] == "/read":
        while (await receive()).get("more_body"):
            pass
    answer = ANSWER if scope["path"] == "/long" else b"ok"
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(answer))]},
    )
    for first in range(0, len(answer), 1 << 16):
        await send({"type": "http.response.body", "body": answer[first : first + (1 << 16)], "more_body": True})
    await send({"type": "http.response.body", "body": b""})


class Running:
    """A server in a thread."""

    def __init__(self, limits: dict[str, Any]) -> None:
        options = ServiceOptions(model=default_model_path(), limits=Limits(**limits))
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        ready = threading.Event()
        self.errors: list[Exception] = []
        """Exceptions that came out of the application."""

        async def watched(scope: Any, receive: Any, send: Any) -> None:
            try:
                await program(scope, receive, send)
            except Exception as error:
                self.errors.append(error)
                raise

        app: Any = watched
        self._server = Server(app, options, ready.set, max_connections=options.limits.max_connections, backlog=64)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve([listener])), daemon=True)
        self._thread.start()
        assert ready.wait(10)

    def connect(self, sent: bytes = b"") -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), 10)
        client.sendall(sent)
        return client

    def ask(self, path: str = "/") -> int:
        """Number of bytes of an answer."""
        with self.connect(b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path.encode()) as client:
            return sum(len(data) for data in iter(lambda: client.recv(1 << 20), b""))

    def end(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()


Run = Callable[..., Running]


@pytest.fixture
def run() -> Iterator[Run]:
    with contextlib.ExitStack() as stack:

        def go(**limits: Any) -> Running:
            running = Running(limits)
            stack.callback(running.end)
            return running

        yield go


def ended(client: socket.socket) -> bool:
    """Whether the server closes a connection, after answers that it may have sent."""
    with contextlib.suppress(ConnectionResetError):
        while client.recv(1 << 20):
            pass
    return True


def trickle(client: socket.socket) -> None:
    """Send one byte after the other until the connection is closed."""
    with contextlib.suppress(OSError):
        while True:
            client.sendall(b"x")
            time.sleep(SHORT_S / 10)


HEAD = b"GET %b HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize("method", [b"GET", b"POST"])
@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b" /health HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        b" /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n",
        b" /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n",
        b" /read HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n",
    ],
)
def test_no_byte_prolongs_a_request(run: Run, method: bytes, sent: bytes) -> None:
    running = run(**LIMITS)
    with running.connect(method + sent if sent else b"") as client:
        trickle(client)
        assert ended(client)
    assert running.ask() > 0


def test_nor_does_a_second_request_on_the_connection(run: Run) -> None:
    running = run(**LIMITS)
    with running.connect(HEAD % b"/" + b"\r\n") as client:
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200")
        client.sendall(HEAD % b"/")
        assert ended(client)


def test_one_connection_may_be_busy_for_long(run: Run) -> None:
    running = run(**LONG | {"head_timeout_s": 1.0})
    with contextlib.closing(HTTPConnection("127.0.0.1", running.port, timeout=10)) as client:
        client.connect()
        used = client.sock
        for _ in range(15):
            client.request("GET", "/")
            assert client.getresponse().read() == b"ok"
            time.sleep(0.1)
        assert client.sock is used


def test_a_head_is_not_longer_than_it_may_be(run: Run) -> None:
    with run(**LONG).connect() as client:
        try:
            client.sendall(b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 1_000_000)
        except OSError:
            return  # it hung up, which is an answer too
        assert client.recv(100).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("path", [b"/", b"/read", b"/long"])
def test_a_body_that_is_malformed_from_its_beginning_is_no_error_of_the_application(run: Run, path: bytes) -> None:
    running = run(**LONG)
    with running.connect(HEAD % path + b"Transfer-Encoding: chunked\r\n\r\nno chunk\r\n") as client:
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 400")
        assert ended(client)
    assert running.ask() > 0
    assert running.errors == []


def test_a_body_that_turns_out_malformed_behind_its_answer_ends_the_connection(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    running = run(**LONG)
    with running.connect(HEAD % b"/" + b"Transfer-Encoding: chunked\r\n\r\n") as client:
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200")
        client.sendall(b"no chunk\r\n")
        assert ended(client)
    assert running.ask() > 0
    assert [record for record in caplog.records if record.name == "asyncio"] == []


@pytest.mark.parametrize("reads", [0, 1 << 14])
def test_a_client_that_reads_slowly_is_let_go(run: Run, reads: int) -> None:
    running = run(**LIMITS)
    with running.connect(HEAD % b"/long" + b"\r\n") as client:
        deadline = time.monotonic() + 4 * SHORT_S
        got = 0
        with contextlib.suppress(ConnectionResetError):
            while time.monotonic() < deadline:
                got += len(client.recv(reads)) if reads else 0
                time.sleep(SHORT_S / 10)
            while data := client.recv(1 << 20):
                got += len(data)
        assert got < len(ANSWER)
    assert running.ask() > 0


@pytest.mark.parametrize(
    ("sent", "more"),
    [
        (b"", HEAD % b"/" + b"\r\n"),
        (HEAD % b"/", b"\r\n"),
        (HEAD % b"/" + b"Content-Length: 9\r\n\r\n", b"123456789" + HEAD % b"/" + b"\r\n"),
    ],
)
def test_a_newcomer_takes_the_place_of_who_waits_longest(run: Run, sent: bytes, more: bytes) -> None:
    running = run(**LONG, max_connections_per_address=8)
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(running.connect(sent)) for _ in range(8)]
        assert running.ask() > 0
        assert ended(waiting[0])
        waiting[1].sendall(more)
        assert waiting[1].recv(100).startswith(b"HTTP/1.1 200")  # so it is the last one to be closed
        waiting.append(stack.enter_context(running.connect()))
        assert running.ask("/long") > len(ANSWER)
        assert ended(waiting[2])
        waiting[1].settimeout(0.05)
        with pytest.raises(TimeoutError):
            ended(waiting[1])


def test_an_accepted_request_is_not_closed_for_a_newcomer(run: Run) -> None:
    running = run(**LONG, max_connections_per_address=4)
    with contextlib.ExitStack() as stack:
        accepted = [running.connect(HEAD % b"/read" + b"Content-Length: 1\r\n\r\n") for _ in range(4)]
        for client in accepted:
            stack.enter_context(client)
        time.sleep(0.05)  # they are read in another order than the newcomer's
        assert ended(stack.enter_context(running.connect()))
        for client in accepted:
            client.sendall(b"x")
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        assert running.ask() > 0


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 1\r\nContent-Length: 2",
        b"Content-Length: 1, 2",
        b"Content-Length: +1",
        b"Transfer-Encoding: gzip",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Content-Length : 1",
        b"Host: y",
    ],
)
def test_a_request_that_two_servers_would_read_differently_is_refused(run: Run, headers: bytes) -> None:
    with run(**LONG).connect(HEAD % b"/" + headers + b"\r\n\r\n") as client:
        assert client.recv(100).startswith(b"HTTP/1.1 400")
