"""The table of connections, with connections that only remember what was done to them."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from polyexport.service.connection_table import ConnectionTable


class Entry:
    def __init__(self, table: ConnectionTable, address: str, *, idle: bool = True) -> None:
        self.table = table
        self.address = address
        self.is_idle = idle
        self.is_open = True
        self.checks = 0
        table.add(self)

    def abort(self) -> None:
        self.is_open = False
        asyncio.get_running_loop().call_soon(self.table.remove, self)  # as a transport does

    def check(self, now: float) -> None:
        self.checks += 1


def in_loop(body: Callable[[ConnectionTable], Any], **limits: Any) -> None:
    async def run() -> None:
        table = ConnectionTable(**({"max_connections": 4, "max_per_address": 3, "check_interval_s": 0.001} | limits))
        body(table)
        await asyncio.sleep(0)

    asyncio.run(run())


@pytest.mark.parametrize("addresses", [["1.2.3.4"], ["1.2.3.4", "::ffff:1.2.3.4"], ["2001:db8::1", "2001:db8::ffff:2"]])
def test_one_address_has_no_more_than_its_share(addresses: list[str]) -> None:
    def body(table: ConnectionTable) -> None:
        other = Entry(table, "4.3.2.1")
        entries = [Entry(table, addresses[number % len(addresses)]) for number in range(5)]
        assert [one.is_open for one in entries] == [False, False, True, True, True]
        assert other.is_open

    in_loop(body)


def test_the_address_that_has_most_loses_one_when_all_places_are_taken() -> None:
    def body(table: ConnectionTable) -> None:
        single = Entry(table, "1.1.1.1")
        greedy = [Entry(table, "2.2.2.2") for _ in range(3)]
        newcomer = Entry(table, "3.3.3.3")
        assert [one.is_open for one in (single, *greedy, newcomer)] == [True, False, True, True, True]

    in_loop(body)


def test_who_answered_last_is_closed_last_and_who_works_not_at_all() -> None:
    def body(table: ConnectionTable) -> None:
        entries = [Entry(table, "1.1.1.1", idle=number != 1) for number in range(3)]
        table.answered(entries[0])
        Entry(table, "1.1.1.1")
        assert [one.is_open for one in entries] == [True, True, False]

    in_loop(body)


def test_a_newcomer_is_sent_away_when_all_work() -> None:
    def body(table: ConnectionTable) -> None:
        entries = [Entry(table, f"1.1.1.{number}", idle=False) for number in range(4)]
        newcomer = Entry(table, "2.2.2.2")
        assert [one.is_open for one in (*entries, newcomer)] == [True] * 4 + [False]
        table.remove(entries[0])
        assert Entry(table, "2.2.2.2").is_open

    in_loop(body)


def test_the_checks_end_with_the_last_connection_and_begin_with_the_next() -> None:
    async def run() -> None:
        table = ConnectionTable(max_connections=4, max_per_address=4, check_interval_s=0.001)
        for _ in range(2):
            entry = Entry(table, "1.1.1.1")
            while entry.checks < 2:
                await asyncio.sleep(0.001)
            table.remove(entry)
            while len(asyncio.get_running_loop()._scheduled) > 1:  # type: ignore[attr-defined] # nothing else tells
                await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(run(), 10))
