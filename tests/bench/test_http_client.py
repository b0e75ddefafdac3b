import asyncio
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from stub_services import answer, stub

from polyexport.bench.http_client import Address, Answer, AnswerError, Connection, parse_address

LOCAL = Address(host="127.0.0.1", port=8000, tls=False, path="")


@pytest.mark.parametrize(
    ("text", "host", "port", "tls", "path", "authority"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1", 8000, False, "", "127.0.0.1:8000"),
        ("http://localhost:8000/", "localhost", 8000, False, "", "localhost:8000"),
        ("http://[::1]:8000", "::1", 8000, False, "", "[::1]:8000"),
        ("HTTPS://Example.org/fill/", "example.org", 443, True, "/fill", "example.org"),
        ("http://bücher.example", "xn--bcher-kva.example", 80, False, "", "xn--bcher-kva.example"),
    ],
)
def test_addresses(text: str, host: str, port: int, tls: bool, path: str, authority: str) -> None:
    address = parse_address(text)
    assert (address.host, address.port, address.tls, address.path) == (host, port, tls, path)
    assert address.authority == authority
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "", "localhost:8000", "ftp://x", "http://", "http://x:99999", "http://x:0", "http://u:p@x", "http://x/?q",
        "http://x/#f", "http://a b", "http://x\r\nHost: y", "http://[::1", "http://x/\u00fc", "http://" + "a" * 300,
    ],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"URL|control|characters"):
        parse_address(text)


@settings(deadline=None)
@given(st.text(max_size=30))
@example("http://\u2100")
def test_any_text_is_an_address_or_refused(text: str) -> None:
    for each in (text, f"http://{text}"):
        try:
            address = parse_address(each)
        except ValueError:
            continue
        request = address.request("GET", "/info")
        assert request.count(b"\r\n") == 4
        assert request.isascii()


def test_a_request_is_whole() -> None:
    address = parse_address("http://127.0.0.1:8000/fill")
    assert address.request("POST", "/infer", b"body", "text/plain") == (
        b"POST /fill/infer HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nContent-Length: 4\r\n"
        b"Content-Type: text/plain\r\n\r\nbody"
    )


def ask(*answers: bytes | None, count: int = 1, max_bytes: int = 1000) -> list[Answer]:
    """Answers to requests over one connection."""

    async def talk(port: int) -> list[Answer]:
        address = Address(host="127.0.0.1", port=port, tls=False, path="")
        connection = await Connection.open(address)
        try:
            return [await connection.ask(address.request("GET", "/"), max_bytes=max_bytes) for _ in range(count)]
        finally:
            connection.close()

    with stub(lambda request, number: answers[number]) as service:
        return asyncio.run(asyncio.wait_for(talk(service.port), 20))


def test_answers_over_one_connection() -> None:
    first, second = ask(answer(b"one", headers="X-A: 1\r\n"), answer(b"", "503 Service Unavailable"), count=2)
    assert (first.status, first.body, first.headers["x-a"]) == (200, b"one", "1")
    assert (second.status, second.body) == (503, b"")


def test_interim_answers_are_skipped() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    assert ask(interim * 3 + answer(b"one"))[0].body == b"one"
    with pytest.raises(AnswerError, match="too many interim"):
        ask(interim * 5 + answer(b"one"))


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        (None, "closed without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", "cut short"),
        (b"HTTP/1.1 200 OK\r\nConte", "closed without an answer"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "no answer of HTTP"),
        (b"HTTP/2 200 OK\r\n\r\n", "no answer of HTTP"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "no answer of HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "without a Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "without a Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "without a Content-Length"),
        (answer(b"x" * 1001), "more than 1000 bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n", "more than 1000 bytes"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000, "64 KiB"),
    ],
)
def test_what_is_no_answer(told: bytes | None, fault: str) -> None:
    def respond(request: bytes, number: int) -> bytes | None:
        return told

    async def talk(port: int) -> Answer:
        address = Address(host="127.0.0.1", port=port, tls=False, path="")
        connection = await Connection.open(address)
        closing = asyncio.get_running_loop().call_later(0.3, service.close)
        try:
            return await connection.ask(address.request("GET", "/"), max_bytes=1000)
        finally:
            closing.cancel()
            connection.close()

    with stub(respond) as service, pytest.raises(AnswerError, match=fault):
        asyncio.run(asyncio.wait_for(talk(service.port), 20))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_an_answer_or_refused(data: bytes, begins: bool) -> None:
    async def read() -> None:
        reader = asyncio.StreamReader(limit=64 * 1024)
        reader.feed_data(b"HTTP/1.1 200 OK\r\n" * begins + data)
        reader.feed_eof()
        connection = Connection(reader, _Writer())  # type: ignore[arg-type]
        try:
            found = await connection.ask(b"", max_bytes=50)
        except AnswerError:
            return
        assert len(found.body) <= 50

    asyncio.run(read())


class _Writer:
    """A stream to nowhere."""

    write: Callable[[bytes], None] = staticmethod(lambda data: None)

    async def drain(self) -> None:
        pass
