"""HTTP/1.1 client for load tests: open connections, and answers of bounded size from an untrusted server.

A load test times thousands of small requests on a few cores, so the client does little for each: the bytes of a request
are made before, and of an answer only its status and its length are read (RFC 9112).
"""

import asyncio
import contextlib
import re
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["Address", "Answer", "AnswerError", "Connection", "parse_address"]

_MAX_HEAD_BYTES = 64 * 1024
_MAX_INTERIM = 4
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9]\d\d)(?: [^\r\n]*)?")
_LENGTH = re.compile(r"\d{1,12}")


class AnswerError(Exception):
    """Bytes that are no answer of HTTP/1.1, or one that cannot be read to its end; the text says in a few words why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """Place of a service."""

    host: str
    port: int
    tls: bool
    path: str
    """Path before the service's routes, without a slash at its end; empty for most."""

    @property
    def authority(self) -> str:
        """Host and port as the Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.path}"

    def request(self, method: str, route: str, body: bytes = b"", content_type: str = "") -> bytes:
        """Bytes of a request to a route, such as ``/infer``."""
        lines = [f"{method} {self.path}{route} HTTP/1.1", f"Host: {self.authority}", f"Content-Length: {len(body)}"]
        if content_type:
            lines.append(f"Content-Type: {content_type}")
        return "\r\n".join((*lines, "", "")).encode("ascii") + body


def parse_address(text: str) -> Address:
    """Read the URL of a service.

    Raises:
        ValueError: not a whole http or https URL, or one with a user, a query or a fragment.
    """
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname
        path = parts.path.rstrip("/")
        path.encode("ascii")
        (host or "").encode("idna")
    except ValueError as error:  # an encoding error is one
        raise ValueError(f"{text[:100]!r} is not a URL ({str(error)[:100]})") from error
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise ValueError(f"{text[:100]!r} is not the URL of a service, such as http://127.0.0.1:8000")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("the URL of a service has no user, query or fragment")
    if re.search(r"[\x00-\x20\x7f]", text):
        raise ValueError(f"{text[:100]!r} has spaces or control characters")
    tls = parts.scheme == "https"
    name = host if ":" in host else host.encode("idna").decode("ascii")
    return Address(host=name, port=port or (443 if tls else 80), tls=tls, path=path)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """Answer of a server."""

    status: int
    headers: dict[str, str]
    """Values by name in lowercase; of a name that stands twice, the last one."""

    body: bytes


class Connection:
    """Connection to a service that takes one request after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.used = False
        self.begun = False
        """Whether a byte of the answer to the last request has come."""

        self.keeps_open = True

    @classmethod
    async def open(cls, address: Address) -> "Connection":
        """Connect to a service.

        Raises:
            OSError: nobody listens there, or TLS cannot be agreed on.
        """
        context = ssl.create_default_context() if address.tls else None
        reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context, limit=_MAX_HEAD_BYTES)
        return cls(reader, writer)

    async def ask(self, request: bytes, *, max_bytes: int) -> Answer:
        """Send a request, and read its answer.

        Args:
            request: the whole request.
            max_bytes: largest body that is read.

        Raises:
            AnswerError: no answer of HTTP/1.1, one without a length, or a larger body.
            OSError: the connection broke.
        """
        self.begun = False
        self._writer.write(request)
        await self._writer.drain()
        for _ in range(_MAX_INTERIM):
            status, headers = await self._head()
            if status >= 200:
                break
        else:
            raise AnswerError("too many interim answers")
        if "transfer-encoding" in headers or not _LENGTH.fullmatch(headers.get("content-length", "")):
            raise AnswerError("answer without a Content-Length")
        size = int(headers["content-length"])
        if size > max_bytes:
            raise AnswerError(f"answer of more than {max_bytes} bytes")
        try:
            body = await self._reader.readexactly(size)
        except asyncio.IncompleteReadError as error:
            raise AnswerError("answer cut short") from error
        self.used = True
        self.keeps_open = headers.get("connection", "").lower() != "close"
        return Answer(status=status, headers=headers, body=body)

    async def _head(self) -> tuple[int, dict[str, str]]:
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            self.begun = bool(error.partial)
            raise AnswerError("connection closed without an answer") from error
        except asyncio.LimitOverrunError as error:
            self.begun = True
            raise AnswerError("head of an answer of more than 64 KiB") from error
        self.begun = True
        first, *lines = head[:-4].split(b"\r\n")
        status = _STATUS.fullmatch(first)
        if status is None:
            raise AnswerError("no answer of HTTP/1.1")
        headers = {}
        for line in lines:
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        return int(status[1]), headers

    def close(self) -> None:
        """Close the connection at once, without waiting for anything."""
        with contextlib.suppress(OSError, RuntimeError):
            self._writer.transport.abort()
