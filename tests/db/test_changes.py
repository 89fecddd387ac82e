"""Hearing of what other processes leave, and repeating what must not wait."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import psycopg
import pytest

from understudy.db import changes
from understudy.db.database import Database, Tx, sql
from understudy.db.postgres import PostgreSQL
from understudy.db.postgres_session import LOCK

SESSION = sql("SELECT pg_backend_pid()")
END = sql("SELECT pg_terminate_backend(pg_backend_pid())")


@contextlib.contextmanager
def asking(url: str) -> Iterator[Callable[..., Any]]:
    """A connection of nobody; yields what asks one question."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield lambda *question: connection.execute(*question).fetchall()


def patient(url: str) -> PostgreSQL:
    """A driver that waits for nothing between two tries."""
    return PostgreSQL(url, pause=lambda _: None)


@pytest.fixture
def no_backup(monkeypatch: pytest.MonkeyPatch) -> None:
    """`changed` says yes only when it was told."""
    monkeypatch.setattr(changes, "_BACKUP", 1_000_000_000)


async def begun(database: Database, event: asyncio.Event) -> None:
    """Wait until a database listens, which it also tells, and forget that."""
    database.on_change(event.set)
    if not await database.changed():
        await event.wait()
        assert await database.changed()
    event.clear()


def test_own_announcements_are_no_news(postgres_url: str, heard: Any) -> None:
    """What a session of this driver announced is passed over, also once it has reconnected."""
    driver = patient(postgres_url)
    ended, wake = os.pipe()
    session = driver.connect()
    with driver.listening(ended) as news, asking(postgres_url) as ask:
        session.transact(lambda tx: tx.announce(), alone=False)
        assert not news()
        ask("SELECT pg_notify('understudy', '')")
        assert news()
        before = set(driver._server.own_sessions)
        ask("SELECT pg_terminate_backend(%s)", list(before))
        session.transact(lambda tx: tx.announce(), alone=False)
        assert not news()
        assert len(driver._server.own_sessions - before) == len(driver._server.own_sessions) == 1
        os.close(wake)
        assert not news()
    session.close()
    assert driver._server.own_sessions == set()
    os.close(ended)


async def test_announcements_reach_others(postgres_url: str, no_backup: None) -> None:
    """The other database is told at once and says so when asked."""
    async with await Database.open(postgres_url) as one, await Database.open(postgres_url) as two:
        heard = {database: asyncio.Event() for database in (one, two)}
        for database, event in heard.items():
            await begun(database, event)
        await one.write(lambda tx: tx.announce())
        await heard[two].wait()
        assert await two.changed()
        assert not await two.changed()
        # What the server told in that order has been heard in that order.
        await two.write(lambda tx: tx.announce())
        await heard[one].wait()
        assert await one.changed()
        assert not await one.changed()


async def test_without_a_listener(
    postgres_url: str, heard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that cannot listen says every so often that something may have changed."""
    driver = patient(postgres_url)
    tries: SimpleQueue[int] = SimpleQueue()

    def deaf(_: int) -> Any:
        tries.put(1)
        raise psycopg.OperationalError("no more connections")

    monkeypatch.setattr(changes, "_LISTEN_AGAIN", 0.0)
    monkeypatch.setattr(driver, "listening", deaf)
    async with await Database.of(driver) as database:
        for _ in range(5):
            await asyncio.to_thread(tries.get)
        asked = [await database.changed() for _ in range(8)]
        assert asked == [False, False, False, True] * 2
    assert heard.events.count("database_listener_lost") == 1


async def test_a_listener_listens_again(
    postgres_url: str, no_backup: None, heard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When its session is ended it opens another, and says that anything may have changed."""
    monkeypatch.setattr(changes, "_LISTEN_AGAIN", 0.0)
    async with await Database.open(postgres_url) as database:
        event = asyncio.Event()
        await begun(database, event)
        with asking(postgres_url) as ask:
            ended = ask(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
            )
        assert ended == [(True,)]
        await event.wait()
        assert await database.changed()
        assert heard.events == ["database_listener_lost"]


def test_a_loop_that_goes(postgres_url: str) -> None:
    """Threads that tell a loop end when it closes before the database, and close all the same."""
    loop = asyncio.new_event_loop()
    database = loop.run_until_complete(Database.open(postgres_url))
    beats: list[int] = []
    repeated = loop.run_until_complete(_repeat(database, beats))
    while not beats:
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    repeated._thread.join(30)
    assert not repeated._thread.is_alive()
    with asking(postgres_url) as ask:
        ask("SELECT pg_notify('understudy', '')")
    listener = database._changes._thread  # type: ignore[attr-defined]
    listener.join(30)
    assert not listener.is_alive()
    asyncio.run(database.close())


async def _repeat(database: Database, beats: list[int]) -> Any:
    return database.repeat(lambda tx: tx.scalar(SESSION), 0.001, beats.append)


async def test_a_heartbeat_survives_its_errors(postgres_url: str, heard: Any) -> None:
    """Whatever a beat raises is logged, and the next one comes; it waits for no lock."""
    tries = []
    beat = asyncio.Event()

    def unit(tx: Tx) -> int:
        tries.append(tx.scalar(SESSION))
        if len(tries) == 1:
            raise RuntimeError("a unit's own, not the loop's")
        if len(tries) == 2:
            tx.scalar(END)
        return len(tries)

    def told(answer: int) -> None:
        assert answer > 2
        beat.set()

    async with await Database.open(postgres_url) as database:
        with psycopg.connect(postgres_url) as other:
            other.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            repeated = database.repeat(unit, 0.001, told)
            assert repeated is not None
            await beat.wait()
            other.rollback()
        await asyncio.to_thread(repeated.close)
        assert "lease_not_renewed" in heard.events
