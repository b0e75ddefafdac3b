"""A connection of a client: uvicorn's HTTP/1.1 protocol with limits on the time of each step of a request."""

import enum
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from polyexport.service.connection_table import ConnectionTable
from polyexport.service.options import Limits

__all__ = ["MAX_HEAD_BYTES", "Connection", "table_for"]

MAX_HEAD_BYTES = 64 * 1024
"""Largest size of the head of a request: its request line and headers."""

_CHECK_INTERVAL_S = 0.5


class _Step(enum.Enum):
    HEAD = enum.auto()
    """The head of the next request is awaited; bytes of it may have come."""

    BODY = enum.auto()
    """The rest of a request is awaited that is not answered yet."""

    WORK = enum.auto()
    """The service works on a whole request."""

    ANSWER = enum.auto()
    """The client has not taken the whole answer."""

    REST = enum.auto()
    """The answer is complete, and the rest of the request is thrown away.

    A client whose connection is closed while it sends would not see the answer.
    """


def table_for(limits: Limits, max_connections: int) -> ConnectionTable:
    """Make the table of the connections of one service, which has its limits or fewer connections."""
    shortest_s = min(limits.head_timeout_s, limits.answer_timeout_s, limits.rest_timeout_s)
    return ConnectionTable(
        max_connections=max_connections,
        max_per_address=min(limits.max_connections_per_address, max_connections),
        check_interval_s=min(_CHECK_INTERVAL_S, shortest_s / 4),
    )


class Connection(H11Protocol):
    """uvicorn's connection on h11, which limits the size of a request's head; httptools does not.

    The table asks every connection in turn whether it takes too long. A step counts from the first time that it is
    seen, so no byte that arrives prolongs it.
    """

    def __init__(self, *arguments: Any, table: ConnectionTable, limits: Limits, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._table = table
        self._limits = limits
        self._seen: tuple[_Step, RequestResponseCycle | None] = (_Step.HEAD, None)
        self._since_s = self.loop.time()

    @property
    def address(self) -> str:
        """Address of the client; empty if it is not known."""
        return self.client[0] if self.client else ""

    @property
    def is_idle(self) -> bool:
        """Whether no request has been accepted that is not answered yet."""
        return self._step() in (_Step.HEAD, _Step.REST)

    def abort(self) -> None:
        """Close the connection at once."""
        self.transport.abort()

    def connection_made(self, transport: Any) -> None:
        """Accept a connection, for which the table may close another one."""
        super().connection_made(transport)
        self._table.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._table.remove(self)
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Note that the client is one that finishes its requests."""
        self._table.answered(self)
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are not HTTP, or close the connection if they come behind an answer that has begun."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()
        if self.cycle is not None:  # whoever works on the request learns that its client is gone, which is no error
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def check(self, now: float) -> None:
        """Close the connection if its step takes too long."""
        seen = (self._step(), self.cycle)
        if seen != self._seen:
            self._seen, self._since_s = seen, now
            return
        limits = self._limits
        limit_s = {
            _Step.HEAD: limits.head_timeout_s,
            # The application answers a body that is late, and has a moment for it.
            _Step.BODY: limits.body_timeout_s + limits.rest_timeout_s,
            _Step.ANSWER: limits.answer_timeout_s,
            _Step.REST: limits.rest_timeout_s,
        }.get(seen[0])
        if limit_s is not None and now - self._since_s > limit_s:
            self.abort()

    def _step(self) -> _Step:
        if self.transport.is_closing() or self.transport.get_write_buffer_size():
            return _Step.ANSWER
        if self.conn.their_state is h11.IDLE:
            return _Step.HEAD
        if self.conn.their_state is h11.SEND_BODY:
            return _Step.REST if self.cycle.response_complete else _Step.BODY
        return _Step.ANSWER if self.cycle.response_started else _Step.WORK
