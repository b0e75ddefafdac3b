import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from stub_services import Respond, Stub, after, answer, picture, service

from polyexport.bench.http_client import Answer, parse_address
from polyexport.bench.http_load import HttpClients, ask_once, fault_of
from polyexport.bench.traffic import Traffic
from polyexport.errors import PolyexportError


@contextlib.contextmanager
def loaded(
    infer: Respond, *, rate: float = 200.0, seconds: float = 0.5, clients: int = 8, timeout_s: float = 5.0
) -> Iterator[tuple[Traffic, Stub]]:
    """Traffic that was sent to a service, and the service."""
    with service(infer) as running:
        address = parse_address(running.url)
        traffic = Traffic(rate, bound_ms=50.0, lead_s=0.0, seed=0)
        with HttpClients(address, [address.request("POST", "/infer")], clients, timeout_s=timeout_s).serve(traffic):
            traffic.stopped.wait(seconds)
        traffic.judge()
        yield traffic, running


def test_connections_stay_open_and_are_few() -> None:
    with loaded(after(0.0)) as (traffic, running):
        traffic.check()
        assert traffic.errors() == {}
        assert len(running.requests) > 40
        assert running.connections <= 8


def test_no_more_requests_at_a_time_than_clients() -> None:
    lock, now, most = threading.Lock(), 0, 0

    def infer(request: bytes, number: int) -> bytes:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with lock:
            now -= 1
        return answer(picture())

    with loaded(infer, clients=3) as (traffic, running):
        assert most == 3
        assert running.connections == 3
        assert max(traffic.answer_times_ms()) > 100  # those that no client was free for have waited


def errors(*kinds: bytes | None, seconds: float = 0.4, timeout_s: float = 5.0, wait_s: float = 0.0) -> dict[str, int]:
    """Errors of a service that answers in turn as given, and keeps silent after the last one."""

    def infer(request: bytes, number: int) -> bytes | None:
        time.sleep(wait_s)
        return kinds[number % len(kinds)]

    with loaded(infer, seconds=seconds, timeout_s=timeout_s) as (traffic, _):
        traffic.check()
        return traffic.errors()


def test_errors_by_kind() -> None:
    busy = answer(b'{"type": "about:blank", "code": "busy"}', "503 Service Unavailable")
    found = errors(
        busy,
        answer(b"plain", "500 Internal Server Error"),
        answer(b"", "302 Found", "Location: http://elsewhere/\r\n"),
        answer(b"GIF89a"),
        answer(picture()),
        answer(b"one", headers="Connection: close\r\n"),
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    )
    assert set(found) == {
        "503 busy",
        "500",
        "redirect 302",
        "answer that is no PNG file",
        "no answer of HTTP/1.1",
        "answer without a Content-Length",
    }
    assert found["answer that is no PNG file"] >= found["503 busy"]


def test_a_connection_that_is_closed_in_the_middle() -> None:
    assert set(errors(None)) <= {"connection closed without an answer", "connection reset"}


def test_no_answer_in_time() -> None:
    assert set(errors(answer(picture()), wait_s=0.4, timeout_s=0.1, seconds=0.5)) == {"no answer in time"}


def test_a_connection_that_was_idle_too_long_is_no_error() -> None:
    # Each connection is closed after its second answer, as a service closes those that are idle.
    def infer(request: bytes, number: int) -> bytes | None:
        return answer(picture()) if number % 3 else None

    with service(infer) as running:
        address = parse_address(running.url)
        clients = HttpClients(address, [address.request("POST", "/infer")], 1, timeout_s=5.0)
        # The first request meets a closed connection that was never used: an error. Each later one is sent again.
        with pytest.raises(PolyexportError, match="closed without an answer|reset"):
            clients.alone(0.1, least=1)
        assert len(clients.alone(0.1, least=10)) >= 10


def test_a_service_that_goes_away_ends_the_test() -> None:
    def infer(request: bytes, number: int) -> bytes:
        if number == 20:
            threading.Thread(target=running.close).start()
        return answer(picture())

    with service(infer) as running:
        address = parse_address(running.url)
        traffic = Traffic(200.0, bound_ms=50.0, lead_s=0.0, seed=0)
        started = time.monotonic()
        with HttpClients(address, [address.request("POST", "/infer")], 4, timeout_s=5.0).serve(traffic):
            assert traffic.stopped.wait(20)
        assert time.monotonic() - started < 15
        with pytest.raises(PolyexportError, match="has gone: it takes no connections any more; look at its log"):
            traffic.check()
        assert traffic.errors()["connection refused"] > 0


def test_requests_that_never_end_do_not_hold_up_the_end() -> None:
    started = time.monotonic()
    with loaded(after(30.0), seconds=0.2, timeout_s=60.0) as (traffic, _):
        assert time.monotonic() - started < 8
        traffic.check()


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = parse_address(f"http://127.0.0.1:{port}")
    with pytest.raises(ConnectionRefusedError):
        ask_once(address, address.request("GET", "/"), timeout_s=5.0, max_bytes=10)
    with service(after(5.0)) as running:
        address = parse_address(running.url)
        with pytest.raises(TimeoutError):
            ask_once(address, address.request("POST", "/infer"), timeout_s=0.1, max_bytes=10)


def test_the_code_of_a_fault_is_a_word() -> None:
    for code in (b'"code": "a\nb"', b'"code": "' + b"x" * 100 + b'"', b'"code": 5'):
        assert fault_of(Answer(status=503, headers={}, body=b"{" + code + b"}")) == "503"
