"""Limits on requests before they are read: how many run at a time, how large a body is, how long it may take."""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from polyexport.service.metrics import Metrics
from polyexport.service.options import Limits
from polyexport.service.problems import ProblemError

__all__ = ["AccessLimit"]

_DISCARD_TIMEOUT_S = 1.0
"""Longest time for which the rest of a refused request is read and thrown away."""

_MAX_DISCARDING = 64
"""Largest number of refused requests whose rest is read at a time."""

_ANSWER_PIECE_BYTES = 64 * 1024

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[_Message, _Receive, _Send], Awaitable[None]]


class AccessLimit:
    """ASGI middleware that limits and counts the POST requests to one path."""

    def __init__(self, app: _App, *, path: str, limits: Limits, metrics: Metrics) -> None:
        """Wrap an application.

        Args:
            app: the ASGI application behind the limit.
            path: the path whose POST requests are limited; other requests pass.
            limits: largest number of requests, size of a body and time for it.
            metrics: counters of requests, seconds, failures and requests in flight.
        """
        self._app = app
        self._path = path
        self._limits = limits
        self._metrics = metrics
        self._in_flight = 0
        self._discarding = 0

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Let one request pass, or refuse it."""
        if scope["type"] != "http" or scope["path"] != self._path or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0

        async def answer(message: _Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await _send_in_pieces(message, send)

        try:
            problem = self._refusal(scope)
            if problem is not None:
                await self._refuse(problem, receive, answer)
            else:
                await self._pass_on(scope, receive, answer, lambda: status)
        finally:
            self._metrics.requests.labels(str(status or "gone")).inc()
            self._metrics.seconds.observe(time.perf_counter() - started)

    async def _pass_on(self, scope: _Message, receive: _Receive, send: _Send, status: Callable[[], int]) -> None:
        self._in_flight += 1
        self._metrics.in_flight.set(self._in_flight)
        try:
            await self._app(scope, self._limited(receive), send)
        except asyncio.CancelledError:  # the service ends, and its grace period is over
            if not status():
                self._discarding = _MAX_DISCARDING
                await self._refuse(ProblemError("stopping", "the service is shutting down"), receive, send)
        finally:
            self._in_flight -= 1
            self._metrics.in_flight.set(self._in_flight)

    def _refusal(self, scope: _Message) -> ProblemError | None:
        if self._in_flight >= self._limits.max_requests:
            return ProblemError(
                "busy", f"{self._limits.max_requests} requests are queued or running, the most at a time; try again"
            )
        for name, value in scope["headers"]:
            if name == b"content-length" and int(value) > self._limits.max_bytes:  # h11 passes digits only
                return self._too_large()
        return None

    def _limited(self, receive: _Receive) -> _Receive:
        got = 0
        deadline = time.monotonic() + self._limits.body_timeout_s
        whole = False

        async def limited() -> _Message:
            nonlocal got, whole
            if whole:  # the only message left is that the client has disconnected
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, deadline - time.monotonic()))
            except TimeoutError as error:
                raise ProblemError(
                    "too_slow", f"the body took more than {self._limits.body_timeout_s:g} s to arrive"
                ) from error
            got += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if got > self._limits.max_bytes:
                raise self._too_large()
            return message

        return limited

    def _too_large(self) -> ProblemError:
        return ProblemError(
            "too_large", f"the body has more than {self._limits.max_bytes} bytes, the largest allowed size"
        )

    async def _refuse(self, problem: ProblemError, receive: _Receive, send: _Send) -> None:
        """Answer with a problem, and read and throw away the rest of the request for a moment.

        A client whose connection is closed while it sends would not see the answer. When many requests are refused at
        a time, only some get that moment.
        """
        self._metrics.failures.labels(problem.code).inc()
        body = json.dumps(problem.body()).encode()
        headers = {"content-type": "application/problem+json", "content-length": str(len(body)), "connection": "close"}
        raw = [(name.lower().encode(), value.encode()) for name, value in (headers | problem.headers).items()]
        await send({"type": "http.response.start", "status": problem.status, "headers": raw})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        if self._discarding < _MAX_DISCARDING:
            self._discarding += 1
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_DISCARD_TIMEOUT_S):
                        while (await receive()).get("more_body", False):
                            pass
            finally:
                self._discarding -= 1
        await send({"type": "http.response.body", "body": b""})


async def _send_in_pieces(message: _Message, send: _Send) -> None:
    """Send one message in pieces, so that a request counts as running until its client has taken nearly all of it."""
    body = message.get("body", b"")
    while len(body) > _ANSWER_PIECE_BYTES:
        await send({"type": message["type"], "body": body[:_ANSWER_PIECE_BYTES], "more_body": True})
        body = body[_ANSWER_PIECE_BYTES:]
    await send({**message, "body": body} if "body" in message else message)
