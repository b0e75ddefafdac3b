"""The web server of the page: the standard library's, which serves a fixed set of files from memory."""

import http.server
import socket
from collections.abc import Callable, Mapping
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

from polyexport.demo.site import HEADERS, media_type
from polyexport.errors import UsageError

__all__ = ["serve_site"]

_IDLE_TIMEOUT_S = 30.0  # a connection is closed when nothing arrives for so long


def serve_site(
    contents: Mapping[str, bytes], *, host: str, port: int, on_ready: Callable[[str], None] = lambda url: None
) -> None:
    """Serve the files of the page until a signal ends the server.

    Args:
        contents: bytes of each file by its path; ``index.html`` is one of them.
        host: the address to listen on.
        port: TCP port; 0 for any free one.
        on_ready: called with the URL of the page.

    Raises:
        UsageError: the port is in use.
    """
    handler = type("Handler", (_Handler,), {"contents": contents})
    try:
        server = (_Server6 if ":" in host else _Server)((host, port), handler)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}:{port} ({error.strerror})", remedy="choose another --port"
        ) from error
    with server:
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - the address for the browser
        on_ready(f"http://{shown}:{server.server_address[1]}/")
        server.serve_forever()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(http.server.BaseHTTPRequestHandler):
    contents: Mapping[str, bytes] = {}
    protocol_version = "HTTP/1.1"
    server_version = "polyexport"
    sys_version = ""
    timeout = _IDLE_TIMEOUT_S

    def do_GET(self) -> None:
        """Answer with a file."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Answer with the headers of a file."""
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
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
