"""Who gets in: how many requests at a time, of how many bytes, within how many seconds. Before anything is read."""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from polyexport.service.metrics import Metrics
from polyexport.service.options import Limits
from polyexport.service.problems import ProblemError

__all__ = ["Gate"]

_LINGER_S = 1.0
_MAX_LINGERING = 64
_PIECE_BYTES = 64 * 1024

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[_Message, _Receive, _Send], Awaitable[None]]


class Gate:
    """ASGI middleware in front of one path."""

    def __init__(self, app: _App, *, path: str, limits: Limits, metrics: Metrics) -> None:
        self._app = app
        self._path = path
        self._limits = limits
        self._metrics = metrics
        self._inside = 0
        self._lingering = 0

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """One request."""
        if scope["type"] != "http" or scope["path"] != self._path or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0

        async def answer(message: _Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await _in_pieces(message, send)

        try:
            problem = self._refusal(scope)
            if problem is not None:
                await self._refuse(problem, receive, answer)
            else:
                await self._let_in(scope, receive, answer, lambda: status)
        finally:
            self._metrics.requests.labels(str(status or "gone")).inc()
            self._metrics.seconds.observe(time.perf_counter() - started)

    async def _let_in(self, scope: _Message, receive: _Receive, send: _Send, status: Callable[[], int]) -> None:
        self._inside += 1
        self._metrics.in_flight.set(self._inside)
        try:
            await self._app(scope, self._limited(receive), send)
        except asyncio.CancelledError:  # the time to end is over
            if not status():
                self._lingering = _MAX_LINGERING
                await self._refuse(ProblemError("stopping", "the service ends"), receive, send)
        finally:
            self._inside -= 1
            self._metrics.in_flight.set(self._inside)

    def _refusal(self, scope: _Message) -> ProblemError | None:
        if self._inside >= self._limits.max_requests:
            return ProblemError(
                "busy", f"{self._limits.max_requests} requests are on their way, the most that are let in"
            )
        for name, value in scope["headers"]:
            if name == b"content-length" and int(value) > self._limits.max_bytes:  # uvicorn lets nothing but digits in
                return self._too_large()
        return None

    def _limited(self, receive: _Receive) -> _Receive:
        got = 0
        deadline = time.monotonic() + self._limits.body_timeout_s
        whole = False

        async def limited() -> _Message:
            nonlocal got, whole
            if whole:  # what comes now is that the client hangs up
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, deadline - time.monotonic()))
            except TimeoutError as error:
                raise ProblemError("too_slow", f"it took more than {self._limits.body_timeout_s:g} s") from error
            got += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if got > self._limits.max_bytes:
                raise self._too_large()
            return message

        return limited

    def _too_large(self) -> ProblemError:
        return ProblemError("too_large", f"it has more than {self._limits.max_bytes} bytes, the most that are let in")

    async def _refuse(self, problem: ProblemError, receive: _Receive, send: _Send) -> None:
        """Answer, and throw away what still comes for a moment: a client that is cut off while it sends sees no answer.
        Of those that are refused together only some get that moment."""
        self._metrics.failures.labels(problem.code).inc()
        body = json.dumps(problem.body()).encode()
        headers = {"content-type": "application/problem+json", "content-length": str(len(body)), "connection": "close"}
        raw = [(name.lower().encode(), value.encode()) for name, value in (headers | problem.headers).items()]
        await send({"type": "http.response.start", "status": problem.status, "headers": raw})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        if self._lingering < _MAX_LINGERING:
            self._lingering += 1
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LINGER_S):
                        while (await receive()).get("more_body", False):
                            pass
            finally:
                self._lingering -= 1
        await send({"type": "http.response.body", "body": b""})


async def _in_pieces(message: _Message, send: _Send) -> None:
    """So that a request is not over before its client has taken nearly all of the answer."""
    body = message.get("body", b"")
    while len(body) > _PIECE_BYTES:
        await send({"type": message["type"], "body": body[:_PIECE_BYTES], "more_body": True})
        body = body[_PIECE_BYTES:]
    await send({**message, "body": body} if "body" in message else message)
