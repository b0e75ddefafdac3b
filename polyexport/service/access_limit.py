"""Limits on requests before they are read: how many run at a time, how large a body is, how long it may take."""

import asyncio
import time
from collections.abc import Callable

from polyexport.service.asgi import App, Message, Receive, Send, send_problem
from polyexport.service.metrics import Metrics
from polyexport.service.options import Limits
from polyexport.service.problems import ProblemError

__all__ = ["AccessLimit"]

_SPARED_S = 1.0
"""Time for which a body that arrives slowly keeps its place when the service is full."""

_ANSWER_PIECE_BYTES = 64 * 1024


class _Arrival:
    """A body that arrives: when it is late, and the means to end it earlier."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._started_s = self._loop.time()
        self._timeout: asyncio.Timeout | None = None
        self.got = 0

    @property
    def rate_deadline_s(self) -> float:
        """Time at which the rate since the first byte falls below the smallest one."""
        return self._started_s + self.got / self._limits.min_bytes_per_s

    async def next(self, receive: Receive) -> Message:
        """Wait for the next piece.

        Raises:
            ProblemError: the body is late or arrives too slowly.
        """
        limits = self._limits
        slow_s = max(self.rate_deadline_s, self._started_s + limits.rate_grace_s)
        deadline_s = min(slow_s, self._started_s + limits.body_timeout_s)
        try:
            async with asyncio.timeout_at(deadline_s) as self._timeout:
                message = await receive()
        except TimeoutError as error:
            took_s = self._loop.time() - self._started_s
            raise ProblemError(
                "too_slow",
                f"{self.got} bytes of the body came in {took_s:.1f} s; it may take {limits.body_timeout_s:g} s, "
                f"with at least {limits.min_bytes_per_s} bytes/s",
            ) from error
        self.got += len(message.get("body", b""))
        return message

    def is_slow(self) -> bool:
        """Whether others may take its place."""
        return max(self.rate_deadline_s, self._started_s + _SPARED_S) < self._loop.time()

    def end(self) -> None:
        """Treat the body as late from now on."""
        if self._timeout is not None and not self._timeout.expired():
            self._timeout.reschedule(self._loop.time())


class AccessLimit:
    """ASGI middleware that limits and counts the POST requests to one path."""

    def __init__(self, app: App, *, path: str, limits: Limits, metrics: Metrics) -> None:
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
        self._arrivals: list[_Arrival] = []
        """Bodies that are not complete, oldest first."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Let one request pass, or refuse it."""
        if scope["type"] != "http" or scope["path"] != self._path or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await _send_in_pieces(message, send)

        try:
            problem = self._refusal(scope)
            if problem is not None:
                await self._refuse(problem, answer)
            else:
                await self._pass_on(scope, receive, answer, lambda: status)
        finally:
            self._metrics.requests.labels(str(status or "gone")).inc()
            self._metrics.seconds.observe(time.perf_counter() - started)

    async def _pass_on(self, scope: Message, receive: Receive, send: Send, status: Callable[[], int]) -> None:
        arrival = _Arrival(self._limits)
        self._arrivals.append(arrival)
        self._count(+1)
        try:
            await self._app(scope, self._limited(receive, arrival), send)
        except asyncio.CancelledError:  # the service ends, and its grace period is over
            if not status():
                await self._refuse(ProblemError("stopping", "the service is shutting down"), send)
        finally:
            self._count(-1)
            self._arrived(arrival)

    def _count(self, change: int) -> None:
        self._in_flight += change
        self._metrics.in_flight.set(self._in_flight)

    def _refusal(self, scope: Message) -> ProblemError | None:
        for name, value in scope["headers"]:
            if name == b"content-length" and int(value) > self._limits.max_bytes:  # h11 passes digits only
                return self._too_large()
        if self._in_flight < self._limits.max_requests:
            return None
        slow = next((one for one in self._arrivals if one.is_slow()), None)
        if slow is None:
            return ProblemError(
                "busy", f"{self._limits.max_requests} requests are queued or running, the most at a time; try again"
            )
        slow.end()
        self._arrived(slow)
        return None

    def _limited(self, receive: Receive, arrival: _Arrival) -> Receive:
        whole = False

        async def limited() -> Message:
            nonlocal whole
            if whole:  # the only message left is that the client has disconnected
                return await receive()
            message = await arrival.next(receive)
            whole = not message.get("more_body", False)
            if whole:
                self._arrived(arrival)
            if arrival.got > self._limits.max_bytes:
                raise self._too_large()
            return message

        return limited

    def _arrived(self, arrival: _Arrival) -> None:
        if arrival in self._arrivals:
            self._arrivals.remove(arrival)

    def _too_large(self) -> ProblemError:
        return ProblemError(
            "too_large", f"the body has more than {self._limits.max_bytes} bytes, the largest allowed size"
        )

    async def _refuse(self, problem: ProblemError, send: Send) -> None:
        self._metrics.failures.labels(problem.code).inc()
        await send_problem(problem, send)


async def _send_in_pieces(message: Message, send: Send) -> None:
    """Send one message in pieces, so that a request counts as running until its client has taken nearly all of it."""
    body = message.get("body", b"")
    while len(body) > _ANSWER_PIECE_BYTES:
        await send({"type": message["type"], "body": body[:_ANSWER_PIECE_BYTES], "more_body": True})
        body = body[_ANSWER_PIECE_BYTES:]
    await send({**message, "body": body} if "body" in message else message)
