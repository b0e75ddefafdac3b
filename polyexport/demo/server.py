"""The web server of the page: the standard library's, which serves a fixed set of files from memory.

Each connection has a thread, so there is only a small number of them, and each has a limited time for every step. When
all are taken, the one that waits longest for a request is closed for a new one.
"""

import contextlib
import http.server
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, urlsplit

from polyexport.demo.site import HEADERS, media_type
from polyexport.errors import UsageError
from polyexport.web.descriptors import free_descriptors
from polyexport.web.hosts import HostRule

__all__ = ["serve_site"]

REQUEST_TIMEOUT_S = 10.0
"""Longest time for a request to arrive on an open connection; no byte prolongs it."""

ANSWER_TIMEOUT_S = 120.0
"""Longest time for a client to take a file; the largest has about 25 MB."""

MAX_CONNECTIONS = 64
"""Largest number of open connections; a browser opens six."""

_CHECK_INTERVAL_S = 0.25


def serve_site(
    contents: Mapping[str, bytes],
    *,
    host: str,
    port: int,
    allow_hosts: Sequence[str] = (),
    on_ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve the files of the page until a signal ends the server.

    Args:
        contents: bytes of each file by its path; ``index.html`` is one of them.
        host: the address to listen on.
        port: TCP port; 0 for any free one.
        allow_hosts: names that the server answers to beside its own, without a port.
        on_ready: called with the URL of the page.

    Raises:
        UsageError: the port is in use, a name to allow is malformed, or this process may open too few files.
    """
    try:
        rule = HostRule(host, tuple(allow_hosts))
    except ValueError as error:
        raise UsageError(str(error), remedy="see --help for the options") from error
    handler = type("Handler", (_Handler,), {"contents": contents, "rule": rule})
    try:
        server = (_Server6 if ":" in host else _Server)((host, port), handler)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}:{port} ({error.strerror})", remedy="choose another --port"
        ) from error
    with server:
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - the address for the browser
        on_ready(f"http://{shown}:{server.server_address[1]}/")
        server.serve_forever(_CHECK_INTERVAL_S)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *arguments: Any) -> None:
        self._lock = threading.Lock()
        self._deadlines: dict[socket.socket, float] = {}
        """Deadlines of the step of each open connection, on the clock of ``time.monotonic``."""

        self._waiting: dict[socket.socket, None] = {}
        """Connections that wait for a request, the one that waits longest first."""

        super().__init__(*arguments)
        # Twice: a connection that is closed for another one has its descriptor until its thread has ended.
        self._max_connections = min(MAX_CONNECTIONS, free_descriptors(2 * MAX_CONNECTIONS) // 2)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection its thread, and close another one for it if there are too many."""
        with self._lock:
            is_full = len(self._deadlines) >= self._max_connections
            closed = next(iter(self._waiting), request) if is_full else None
            if closed is not None:
                self._end(closed)
        if closed is request:
            self.shutdown_request(request)
            return
        self.expect(request)
        super().process_request(request, client_address)

    def expect(self, connection: socket.socket) -> None:
        """Wait for a request on a connection from now on."""
        with self._lock:
            self._waiting[connection] = None
            self._deadlines[connection] = time.monotonic() + REQUEST_TIMEOUT_S

    def answer(self, connection: socket.socket) -> None:
        """Answer a request on a connection from now on."""
        with self._lock:
            if connection in self._waiting:
                del self._waiting[connection]
                self._deadlines[connection] = time.monotonic() + ANSWER_TIMEOUT_S

    def service_actions(self) -> None:
        """Close the connections whose time is over; the base class calls it between two requests, or every 0.25 s."""
        now = time.monotonic()
        with self._lock:
            for connection in [one for one, deadline in self._deadlines.items() if deadline < now]:
                self._end(connection)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection whose thread ends, and close it."""
        with self._lock:
            self._end(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing about clients that are gone, which is no error."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def _end(self, connection: socket.socket) -> None:
        """Wake the thread of a connection, which ends by itself."""
        self._waiting.pop(connection, None)
        if self._deadlines.pop(connection, None) is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    contents: Mapping[str, bytes] = {}
    rule: HostRule
    protocol_version = "HTTP/1.1"
    server_version = "polyexport"
    sys_version = ""

    def handle_one_request(self) -> None:
        """Handle a request, whose time begins now."""
        self.server.expect(self.connection)
        super().handle_one_request()

    def do_GET(self) -> None:
        """Answer with a file."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Answer with the headers of a file."""
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        self.server.answer(self.connection)
        self.close_connection |= self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers
        try:
            host = self.rule.host(self.headers.get_all("Host", []))
        except ValueError as error:
            self.send_error(HTTPStatus.BAD_REQUEST, str(error))
            return
        if not self.rule.allows(host):
            self.send_error(
                HTTPStatus.MISDIRECTED_REQUEST,
                f"The page is not known as {host[:100]}; start it with --allow-host to allow this name",
            )
            return
        try:
            name = unquote(urlsplit(self.path).path).removeprefix("/") or "index.html"
        except ValueError:  # a malformed IPv6 address
            name = self.path
        data = self.contents.get(name)
        if data is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", media_type(name))
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-cache")
        for header, value in HEADERS.items():
            self.send_header(header, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """Log nothing about the files that a browser fetches."""
