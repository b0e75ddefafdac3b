"""Clients of a running service: each sends one request at a time, over connections that they share."""

import asyncio
import contextlib
import math
import re
import selectors
import ssl
import threading
import time
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from polyexport.bench.http_client import Address, Answer, AnswerError, Connection
from polyexport.bench.traffic import Traffic
from polyexport.errors import PolyexportError

__all__ = ["MAX_RESULT_BYTES", "HttpClients", "ask_once", "fault_of"]

T = TypeVar("T")

MAX_RESULT_BYTES = 64 * 2**20
"""Largest answer that is read, bytes."""

_PNG = b"\x89PNG\r\n\x1a\n"
_NAP_S = 0.2
_END_GRACE_S = 2.0
_GONE_S = 2.0
_CODE = re.compile(rb'"code"\s*:\s*"([a-z_]{1,32})"')


def ask_once(address: Address, request: bytes, *, timeout_s: float, max_bytes: int) -> Answer:
    """Send one request over a connection of its own.

    Raises:
        AnswerError: no whole answer of HTTP/1.1.
        OSError: nobody listens there, the connection broke, or the time ran out (``TimeoutError``).
    """

    async def ask() -> Answer:
        async with asyncio.timeout(timeout_s):
            connection = await Connection.open(address)
            try:
                return await connection.ask(request, max_bytes=max_bytes)
            finally:
                connection.close()

    return _in_thread(ask())


def fault_of(answer: Answer) -> str:
    """Kind of the error that an answer of ``/infer`` tells of; empty for a PNG file."""
    if 300 <= answer.status < 400:
        return f"redirect {answer.status}"
    if answer.status != 200:
        code = _CODE.search(answer.body[:4096])
        return f"{answer.status} {code[1].decode()}" if code else f"{answer.status}"
    return "" if answer.body.startswith(_PNG) else "answer that is no PNG file"


class HttpClients:
    """Clients that send images to a service.

    Their event loop runs in a thread of its own, so that the main thread judges and gets the signals.
    """

    def __init__(self, address: Address, requests: Sequence[bytes], number: int, *, timeout_s: float) -> None:
        """Prepare the clients.

        Args:
            address: place of the service.
            requests: whole requests, sent in turn.
            number: largest number of connections, and of requests at a time.
            timeout_s: time after which a request without an answer is given up.
        """
        self._address, self._requests, self._number, self._timeout_s = address, requests, number, timeout_s
        self._idle: list[Connection] = []
        self._refused_since: float | None = None

    @contextlib.contextmanager
    def serve(self, traffic: Traffic) -> Iterator[None]:
        """Take arrivals and answer them until the block ends; then requests get two seconds for their answers."""
        self._refused_since = None
        thread = threading.Thread(target=self._run, args=(traffic,), name="http-clients")
        traffic.begin()
        thread.start()
        try:
            yield
        finally:
            traffic.stop()
            thread.join()

    def _run(self, traffic: Traffic) -> None:
        try:
            with asyncio.Runner(loop_factory=_precise_loop) as runner:
                runner.run(self._all(traffic))
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that judges
            traffic.fail(error)

    async def _all(self, traffic: Traffic) -> None:
        clients = {asyncio.ensure_future(self._client(traffic)) for _ in range(self._number)}
        pending, ends = clients, math.inf
        try:
            while pending and time.monotonic() < ends:
                done, pending = await asyncio.wait(pending, timeout=_NAP_S, return_when=asyncio.FIRST_EXCEPTION)
                for one in done:
                    one.result()
                if traffic.stopped.is_set():
                    ends = min(ends, time.monotonic() + _END_GRACE_S)
        finally:
            for one in clients:
                one.cancel()
            await asyncio.gather(*clients, return_exceptions=True)
            await self._close()

    async def _close(self) -> None:
        while self._idle:
            self._idle.pop().close()
        await asyncio.sleep(0)  # the loop closes their sockets in its next round

    async def _client(self, traffic: Traffic) -> None:
        while (arrival := traffic.take()) is not None:
            number, due = arrival
            while (left := due - time.perf_counter()) > 0:
                await asyncio.sleep(min(left, _NAP_S))
                if traffic.stopped.is_set():
                    return
            traffic.answered(number, await self._fault(self._requests[number % len(self._requests)]))
            if self._refused_since is not None and time.monotonic() - self._refused_since > _GONE_S:
                raise PolyexportError(
                    f"the service at {self._address} has gone: it takes no connections any more",
                    remedy="look at its log, and start it again",
                )

    def alone(self, seconds: float, *, least: int) -> list[float]:
        """Send one request after the other, and return the milliseconds of each.

        Args:
            seconds: time for which requests are sent.
            least: number of requests that are sent however long they take.

        Raises:
            PolyexportError: a request failed.
        """

        async def ask() -> list[float]:
            samples: list[float] = []
            ends = time.perf_counter() + seconds
            try:
                while len(samples) < least or time.perf_counter() < ends:
                    began = time.perf_counter()
                    fault = await self._fault(self._requests[len(samples) % len(self._requests)])
                    if fault:
                        raise PolyexportError(
                            f"{self._address} does not answer a request that is alone: {fault}",
                            remedy="look at its log",
                        )
                    samples.append((time.perf_counter() - began) * 1e3)
            finally:
                await self._close()
            return samples

        return _in_thread(ask())

    async def _fault(self, request: bytes) -> str:
        """Send a request, and return the kind of its error; empty if a PNG file came back."""
        connection: Connection | None = None
        keeps_open = False
        try:
            async with asyncio.timeout(self._timeout_s):
                while True:
                    connection = self._idle.pop() if self._idle else await Connection.open(self._address)
                    self._refused_since = None
                    used = connection.used
                    try:
                        answer = await connection.ask(request, max_bytes=MAX_RESULT_BYTES)
                        break
                    except (OSError, AnswerError):
                        # A service closes connections that are idle; a request that meets one has not reached it.
                        if not used or connection.begun:
                            raise
                        connection.close()
            keeps_open = connection.keeps_open
            return fault_of(answer)
        except TimeoutError:
            return "no answer in time"
        except ssl.SSLError:
            return "TLS failed"
        except AnswerError as error:
            return str(error)
        except ConnectionRefusedError:
            self._refused_since = self._refused_since or time.monotonic()
            return "connection refused"
        except ConnectionError:
            return "connection reset"
        except OSError:
            return "no connection"
        finally:
            if connection is not None and keeps_open:
                self._idle.append(connection)
            elif connection is not None:
                connection.close()


def _precise_loop() -> asyncio.AbstractEventLoop:
    """Event loop that wakes in time: ``epoll`` rounds waits up to whole milliseconds, and ``select`` does not."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def _in_thread(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a thread of its own, so that a signal ends the wait at once."""
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(asyncio.run(work))
        except BaseException as error:  # noqa: BLE001 - raised again by the caller
            outcome.set_exception(error)

    threading.Thread(target=run, name="http-client", daemon=True).start()
    return outcome.result()
