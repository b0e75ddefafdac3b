"""Limits on the requests to one path, with bodies that the tests send piece by piece."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from polyexport.service.access_limit import AccessLimit
from polyexport.service.asgi import send_problem
from polyexport.service.metrics import Metrics
from polyexport.service.options import Limits
from polyexport.service.problems import ProblemError


async def program(scope: Any, receive: Any, send: Any) -> None:
    """Reads the whole body and answers with its size, or with the problem that reading it raises."""
    size, more = 0, True
    while more:
        try:
            message = await receive()
        except ProblemError as problem:
            await send_problem(problem, send)
            return
        size += len(message["body"])
        more = message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d" % size})


class Client:
    """One request in its own task."""

    def __init__(self, app: Any, headers: Any = ()) -> None:
        self._pieces: asyncio.Queue[Any] = asyncio.Queue()
        self._sent: list[Any] = []
        scope = {"type": "http", "path": "/infer", "method": "POST", "headers": list(headers)}
        self._task = asyncio.create_task(app(scope, self._pieces.get, self._send))

    async def _send(self, message: Any) -> None:
        self._sent.append(message)

    def send(self, body: bytes, *, more: bool = True) -> None:
        self._pieces.put_nowait({"type": "http.request", "body": body, "more_body": more})

    async def answer(self) -> tuple[int, bytes]:
        await self._task
        return self._sent[0]["status"], b"".join(message.get("body", b"") for message in self._sent)

    async def code(self) -> str:
        return str(json.loads((await self.answer())[1])["code"])


def in_loop(body: Callable[[Callable[..., Client], Metrics], Awaitable[None]], **limits: Any) -> None:
    async def run() -> None:
        metrics = Metrics()
        app = AccessLimit(program, path="/infer", limits=Limits(**limits), metrics=metrics)
        await body(lambda **more: Client(app, **more), metrics)
        assert b"polyexport_requests_in_flight 0.0" in metrics.text()

    asyncio.run(asyncio.wait_for(run(), 10))


@pytest.mark.parametrize("limits", [{"body_timeout_s": 0.1}, {"rate_grace_s": 0.1, "min_bytes_per_s": 100_000}])
def test_a_body_that_trickles_is_refused(limits: dict[str, Any]) -> None:
    async def body(connect: Callable[..., Client], metrics: Metrics) -> None:
        client = connect()

        async def trickle() -> None:
            while True:
                client.send(b"x")
                await asyncio.sleep(0.01)

        trickling = asyncio.create_task(trickle())
        assert await client.code() == "too_slow"
        trickling.cancel()
        assert b'polyexport_requests_total{status="408"} 1.0' in metrics.text()

    in_loop(body, **limits)


def test_a_body_that_is_fast_enough_is_read() -> None:
    async def body(connect: Callable[..., Client], metrics: Metrics) -> None:
        client = connect()
        for _ in range(10):
            client.send(bytes(1000))
            await asyncio.sleep(0.02)
        client.send(b"", more=False)
        assert await client.answer() == (200, b"10000")

    in_loop(body, rate_grace_s=0.05, min_bytes_per_s=10_000)


def test_a_slow_body_gives_its_place_to_another_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyexport.service.access_limit._SPARED_S", 0.05)

    async def body(connect: Callable[..., Client], metrics: Metrics) -> None:
        fast, slow = connect(), connect()
        fast.send(bytes(1_000_000))
        slow.send(b"x")
        await asyncio.sleep(0)
        assert await connect().code() == "busy"  # both have their time
        await asyncio.sleep(0.1)
        newcomer = connect()
        assert await slow.code() == "too_slow"
        newcomer.send(bytes(1_000_000))
        await asyncio.sleep(0)
        assert await connect().code() == "busy"  # nobody is slow now
        newcomer.send(b"", more=False)
        fast.send(b"", more=False)
        assert [await newcomer.answer(), await fast.answer()] == [(200, b"1000000")] * 2

    in_loop(body, max_requests=2)


def test_a_request_whose_body_is_whole_keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyexport.service.access_limit._SPARED_S", 0.01)
    working = asyncio.Event()

    async def program_that_works(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await working.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def run() -> None:
        app = AccessLimit(program_that_works, path="/infer", limits=Limits(max_requests=1), metrics=Metrics())
        client = Client(app)
        client.send(b"x", more=False)
        await asyncio.sleep(0.05)
        assert await Client(app).code() == "busy"
        working.set()
        assert (await client.answer())[0] == 200

    asyncio.run(asyncio.wait_for(run(), 10))


@pytest.mark.parametrize("headers", [(), ((b"content-length", b"2001"),)])
def test_a_body_is_not_larger_than_it_may_be(headers: Any) -> None:
    async def body(connect: Callable[..., Client], metrics: Metrics) -> None:
        client = connect(headers=headers)
        for _ in range(3):
            client.send(bytes(1000))
        assert await client.code() == "too_large"

    in_loop(body, max_bytes=2000)
