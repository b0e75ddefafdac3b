"""The open connections of a service: how many there may be, and which one is closed for another."""

import asyncio
import ipaddress
from collections.abc import Hashable, Iterable
from typing import Protocol

__all__ = ["ConnectionTable", "TableEntry"]


class TableEntry(Hashable, Protocol):
    """A connection as the table sees it."""

    @property
    def address(self) -> str:
        """Address of the client."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing is lost when the connection is closed: no request has been accepted on it."""

    def abort(self) -> None:
        """Close the connection at once."""

    def check(self, now: float) -> None:
        """Close the connection if it has taken too long for what it does, at a time of the event loop's clock."""


class ConnectionTable:
    """The open connections of one event loop.

    A newcomer always gets in while any connection is idle: the one that has been idle longest is closed for it, of the
    newcomer's own address if that has too many, or else of the address that has most.
    """

    def __init__(self, *, max_connections: int, max_per_address: int, check_interval_s: float) -> None:
        """Make an empty table.

        Args:
            max_connections: largest number of connections.
            max_per_address: largest number of connections from one address, or from one IPv6 network of 64 bits.
            check_interval_s: time between two checks of every connection.
        """
        self._max_connections = max_connections
        self._max_per_address = max_per_address
        self._check_interval_s = check_interval_s
        self._groups: dict[str, dict[TableEntry, None]] = {}
        """Connections by address; the one that answered a request last is the last one. No group is empty."""

        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, connection: TableEntry) -> None:
        """Take a connection in, and close another one for it if there are too many, or itself if none is idle."""
        key = _group_of(connection.address)
        group = self._groups.setdefault(key, {})
        group[connection] = None
        self._count += 1
        if len(group) > self._max_per_address:
            self._make_room([group], connection)
        elif self._count > self._max_connections:
            self._make_room(sorted(self._groups.values(), key=len, reverse=True), connection)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._check_interval_s, self._check)

    def remove(self, connection: TableEntry) -> None:
        """Forget a connection that is closed, if it is in the table."""
        key = _group_of(connection.address)
        group = self._groups.get(key, {})
        if connection in group:
            del group[connection]
            self._count -= 1
        if not group:
            self._groups.pop(key, None)

    def answered(self, connection: TableEntry) -> None:
        """Note that a request was answered on a connection, so that others are closed before it."""
        group = self._groups.get(_group_of(connection.address), {})
        if connection in group:
            del group[connection]
            group[connection] = None

    def _make_room(self, groups: Iterable[dict[TableEntry, None]], newcomer: TableEntry) -> None:
        others = (one for group in groups for one in group if one is not newcomer and one.is_idle)
        closed = next(others, newcomer)
        self.remove(closed)
        closed.abort()

    def _check(self) -> None:
        loop = asyncio.get_running_loop()
        for group in tuple(self._groups.values()):
            for connection in tuple(group):
                connection.check(loop.time())
        self._timer = loop.call_later(self._check_interval_s, self._check) if self._groups else None


def _group_of(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, 64), strict=False))  # a customer commonly gets a whole one
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)
