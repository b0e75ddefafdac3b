"""The server of the page: a fixed set of files, and nothing else of this machine."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from threading import Thread

import pytest

from polyexport.demo import server
from polyexport.demo.server import serve_site
from polyexport.demo.site import HEADERS
from polyexport.errors import UsageError

CONTENTS = {"index.html": b"<p>page</p>", "runtime/a.wasm": b"\0asm", "a b.mjs": b"1", "large": bytes(16 << 20)}


def started() -> int:
    """Start a server in a thread, which lives as long as the tests; gives its port."""
    ready: list[str] = []
    arguments = {"host": "127.0.0.1", "port": 0, "allow_hosts": ["color.example"], "on_ready": ready.append}
    Thread(target=serve_site, args=(CONTENTS,), kwargs=arguments, daemon=True).start()
    deadline = time.monotonic() + 10
    while not ready:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return int(ready[0].rstrip("/").rpartition(":")[2])


@pytest.fixture(scope="module")
def port() -> int:
    return started()


def ask(port: int, path: str, method: str = "GET") -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def test_files_come_with_their_types_and_headers(port: int) -> None:
    for path, name in (("/", "index.html"), ("/index.html?x=1", "index.html"), ("/runtime/a.wasm", "runtime/a.wasm")):
        answer, data = ask(port, path)
        assert (answer.status, data) == (200, CONTENTS[name])
        assert HEADERS.items() <= dict(answer.headers).items()
    assert ask(port, "/runtime/a.wasm")[0].headers["Content-Type"] == "application/wasm"
    assert ask(port, "/a%20b.mjs")[1] == b"1"
    answer, data = ask(port, "/", "HEAD")
    assert (answer.status, data, answer.headers["Content-Length"]) == (200, b"", "11")


ELSEWHERE = ["/etc/passwd", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/runtime/", "/%00"]


@pytest.mark.parametrize("path", [*ELSEWHERE, "/é", "http://["])
def test_nothing_else_is_given_out(path: str, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        told = b"".join(iter(lambda: connection.recv(4096), b""))
    assert told.split()[1] == b"404"
    assert b"root:" not in told


def test_other_methods_and_what_is_no_http(port: int) -> None:
    assert ask(port, "/", "POST")[0].status == 501
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"\x16\x03\x01\0garbage\r\n\r\n")
        assert b"400" in connection.recv(4096)
    assert ask(port, "/")[0].status == 200


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("Host: localhost:8080", b"200"),
        ("Host: phone", b"200"),
        ("Host: color.example", b"200"),
        ("Host: evil.example", b"421"),
        ("Host: 192.0.2.7", b"421"),
        ("X: y", b"400"),
        ("Host: a\r\nHost: b", b"400"),
        ("Host: a b", b"400"),
    ],
)
def test_only_known_hosts_are_answered(head: str, status: bytes, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\n{head}\r\nConnection: close\r\n\r\n".encode())
        told = b"".join(iter(lambda: connection.recv(4096), b""))
    assert told.split()[1] == status
    assert b"Access-Control" not in told
    assert (b"--allow-host" in told) is (status == b"421")


def test_a_name_to_allow_that_is_none() -> None:
    with pytest.raises(UsageError, match="without a port"):
        serve_site(CONTENTS, host="127.0.0.1", port=0, allow_hosts=["a:80"])


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(server, "REQUEST_TIMEOUT_S", 0.3)
    monkeypatch.setattr(server, "ANSWER_TIMEOUT_S", 0.3)
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 8)
    return started()


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_no_byte_prolongs_a_request(short: int, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", short), timeout=10) as connection:
        connection.sendall(sent)
        deadline = time.monotonic() + 10
        with contextlib.suppress(OSError):
            while time.monotonic() < deadline:
                connection.sendall(b"x")
                time.sleep(0.05)
        assert time.monotonic() < deadline


def test_a_client_that_reads_nothing_is_let_go(short: int) -> None:
    with socket.create_connection(("127.0.0.1", short), timeout=10) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(1.0)
        got = 0
        with contextlib.suppress(ConnectionResetError):
            while data := connection.recv(1 << 20):
                got += len(data)
    assert got < len(CONTENTS["large"])


def test_many_clients_that_send_nothing_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 8)
    port = started()
    threads = threading.active_count()
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            waiting = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            waiting.sendall(b"GET / HTTP/1.1\r\n")
        assert ask(port, "/")[0].status == 200
        assert threading.active_count() - threads <= 2 * server.MAX_CONNECTIONS


def test_a_port_in_use(port: int) -> None:
    with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{port}"):
        serve_site(CONTENTS, host="127.0.0.1", port=port)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_it_even_with_a_client_that_waits(number: int, code: int, runtime: None) -> None:
    command = [sys.executable, "-m", "polyexport.cli.main", "demo", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        port = int(process.stdout.readline().strip().rstrip("/").rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as silent:
            silent.sendall(b"GET / HTTP/1.1\r\n")
            time.sleep(0.1)
            os.kill(process.pid, number)
            assert process.wait(10) == code
        said = process.stderr.read().splitlines()
    assert said == ["press Ctrl-C to stop the server", {130: "interrupted", 143: "terminated"}[code]]
