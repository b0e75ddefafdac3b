"""The gate of the service: what is refused of any request, whatever its route."""

from collections.abc import Iterable
from urllib.parse import unquote_plus

from polyexport.service.asgi import App, Message, Receive, Send, send_problem
from polyexport.service.problems import ProblemError
from polyexport.web.hosts import HostRule

__all__ = ["Gate"]

_READING_METHODS = ("GET", "HEAD", "OPTIONS")
_MAX_NAME_LENGTH = 100


class Gate:
    """ASGI middleware that refuses requests for other hosts, from pages of other sites, and of doubtful meaning."""

    def __init__(self, app: App, *, rule: HostRule) -> None:
        """Wrap an application.

        Args:
            app: the ASGI application behind the gate.
            rule: the names that the service answers to.
        """
        self._app = app
        self._rule = rule

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Let one request pass, or refuse it."""
        try:
            self._check(scope)
        except ProblemError as problem:
            # It is doubtful where a malformed request ends, and so where the next one begins.
            await send_problem(problem, send, close=problem.code == "malformed")
        else:
            await self._app(scope, receive, send)

    def _check(self, scope: Message) -> None:
        headers: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name, []).append(value.decode("latin-1"))
        if b"content-length" in headers and b"transfer-encoding" in headers:
            # Another server on the way may have believed the other one, and so have seen other requests.
            raise ProblemError("malformed", "the request has both Content-Length and Transfer-Encoding")
        try:
            host = self._rule.host(headers.get(b"host", []))
        except ValueError as error:
            raise ProblemError("malformed", str(error)) from error
        if not self._rule.allows(host):
            raise ProblemError(
                "host",
                f"the service does not answer to {host[:_MAX_NAME_LENGTH]!r}; start it with --allow-host to allow it",
            )
        if scope["method"] not in _READING_METHODS:
            self._check_page(headers, host)
        names = [part.partition(b"=")[0] for part in scope["query_string"].split(b"&")]
        twice = _first_twice(unquote_plus(name.decode("latin-1")) for name in names if name)
        if twice is not None:
            raise ProblemError("field", f"{twice[:_MAX_NAME_LENGTH]!r} is given twice in the query")

    def _check_page(self, headers: dict[bytes, list[str]], host: str) -> None:
        """Refuse what a page of another site sends: browsers ask for no permission before a plain form."""
        is_foreign = any(not self._rule.allows_origin(origin, host) for origin in headers.get(b"origin", []))
        if is_foreign or "cross-site" in headers.get(b"sec-fetch-site", []):
            raise ProblemError("cross_site", "a page of another site sent the request, by its Origin or Sec-Fetch-Site")


def _first_twice(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
