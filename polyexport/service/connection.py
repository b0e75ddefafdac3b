"""One connection of a client: uvicorn's own, with limits on how long a client may take and on how many there are."""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["HEAD_TIMEOUT_S", "MAX_CONNECTIONS", "MAX_HEAD_BYTES", "WRITE_TIMEOUT_S", "Connection"]

HEAD_TIMEOUT_S = 10.0
"""For the head of a request to arrive whole."""

WRITE_TIMEOUT_S = 30.0
"""For a client to take something of what waits for it."""

MAX_HEAD_BYTES = 64 * 1024
MAX_CONNECTIONS = 1000


class Connection(H11Protocol):
    """uvicorn's HTTP/1.1 on h11, which unlike httptools bounds the head of a request."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head: asyncio.TimerHandle | None = None
        self._write: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._cancel("_head")
        elif self._head is None:  # the beginning of a further request
            self._await_head()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write = self.loop.call_later(WRITE_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        self._cancel("_write")
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel("_head")
        self._cancel("_write")
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._head = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.abort)

    def _cancel(self, name: str) -> None:
        timer = getattr(self, name)
        if timer is not None:
            timer.cancel()
            setattr(self, name, None)
