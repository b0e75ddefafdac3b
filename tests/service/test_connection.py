"""Slow clients: uvicorn with the service's connections, and an application that gives long answers."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from polyexport.service import connection
from polyexport.service.connection import Connection

ANSWER = bytes(8 << 20)


async def program(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    length = str(len(ANSWER)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    for first in range(0, len(ANSWER), 1 << 16):
        await send({"type": "http.response.body", "body": ANSWER[first : first + (1 << 16)], "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(connection, "HEAD_TIMEOUT_S", 0.4)
    monkeypatch.setattr(connection, "WRITE_TIMEOUT_S", 0.4)
    monkeypatch.setattr(connection, "MAX_CONNECTIONS", 20)
    config = uvicorn.Config(
        program,
        port=0,
        loop="asyncio",
        http=Connection,
        h11_max_incomplete_event_size=10_000,
        log_level="critical",
        lifespan="off",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(10)


def ask(port: int) -> int:
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return sum(len(data) for data in iter(lambda: client.recv(1 << 20), b""))


def ended(client: socket.socket) -> bool:
    client.settimeout(10)
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost:"])
def test_a_head_that_does_not_come_ends_the_connection(sent: bytes, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(sent)
        assert ended(client)
    assert ask(port) > len(ANSWER)


def test_so_does_that_of_a_second_request(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        left = len(ANSWER)
        while left > 0:
            left -= len(client.recv(1 << 20))
        client.sendall(b"GET / HTTP/1.1\r\n")
        while client.recv(1 << 20):  # what was left of the answer, and then the end
            pass


def test_a_head_is_not_longer_than_it_may_be(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        try:
            client.sendall(b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 1_000_000)
        except OSError:
            return  # it hung up, which is an answer too
        assert client.recv(100).startswith(b"HTTP/1.1 400")


def test_a_client_that_does_not_read_is_let_go(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(1.5)
        client.settimeout(10)
        got = 0
        try:
            while data := client.recv(1 << 20):
                got += len(data)
        except ConnectionResetError:
            pass
        assert got < len(ANSWER)
    assert ask(port) > len(ANSWER)


def test_there_are_only_so_many(port: int) -> None:
    clients = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(25)]
    try:
        assert ended(clients[-1])
    finally:
        for client in clients:
            client.close()
    time.sleep(0.2)
    assert ask(port) > len(ANSWER)
