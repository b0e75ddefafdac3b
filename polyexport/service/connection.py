"""A connection of a client: uvicorn's HTTP/1.1 protocol with limits on time and on the number of connections."""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["HEAD_TIMEOUT_S", "MAX_CONNECTIONS", "MAX_HEAD_BYTES", "WRITE_TIMEOUT_S", "Connection"]

HEAD_TIMEOUT_S = 10.0
"""Longest time for the head of a request to arrive."""

WRITE_TIMEOUT_S = 30.0
"""Longest time for which a client may read nothing while the answer waits for it."""

MAX_HEAD_BYTES = 64 * 1024
"""Largest size of the head of a request: its request line and headers."""

MAX_CONNECTIONS = 1000
"""Largest number of open connections; a further one is closed at once."""


class Connection(H11Protocol):
    """uvicorn's connection on h11, which limits the size of a request's head; httptools does not."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Accept a connection, or close it when there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        self._start_head_timer()

    def data_received(self, data: bytes) -> None:
        """Read data, and start or end the time limit of a request's head."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._cancel("_head_timer")
        elif self._head_timer is None:  # a further request on this connection begins
            self._start_head_timer()

    def pause_writing(self) -> None:
        """Start the time limit of a client that reads nothing."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(WRITE_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        """End the time limit of a client that reads nothing."""
        self._cancel("_write_timer")
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """End every time limit."""
        self._cancel("_head_timer")
        self._cancel("_write_timer")
        super().connection_lost(exc)

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.abort)

    def _cancel(self, name: str) -> None:
        timer = getattr(self, name)
        if timer is not None:
            timer.cancel()
            setattr(self, name, None)
