"""The database in memory keeps the contract of the others."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence

import pytest

from understudy.db.database import Bulk, Database, Tx, sql
from understudy.errors import InputError, StorageError

ADD = sql("INSERT INTO signals (tenant, name, data, created_at) VALUES ('t', :name, '{}', 1)")
NAMES = sql("SELECT name FROM signals ORDER BY id")
DEFER = sql("PRAGMA defer_foreign_keys = ON")
ORPHAN = sql("INSERT INTO waits VALUES ('nobody', 'k', 't', 'n', '{}')")


def add(tx: Tx, name: str = "a") -> str:
    """A unit of work."""
    tx.execute(ADD, {"name": name})
    return name


def fail(tx: Tx) -> None:
    """One that leaves something behind, if it may."""
    add(tx, "left")
    raise ValueError("mine")


def orphan(tx: Tx) -> None:
    """One whose commit fails."""
    tx.execute(DEFER)
    tx.execute(ORPHAN)


def run_dry(_: Tx) -> None:
    """One that raises what a future cannot carry."""
    next(iter(()))


async def test_units_and_queries() -> None:
    """A unit is done when `write` returns; a failing one leaves nothing; a query cannot write."""
    async with Database.in_memory() as database:
        assert database.write(add).result() == "a"
        for unit, error in (
            (fail, ValueError),
            (orphan, sqlite3.IntegrityError),
            (run_dry, RuntimeError),
            (lambda tx: add(tx, "\ud800"), InputError),
        ):
            with pytest.raises(error):
                await database.write(unit)
        assert await database.read(lambda tx: tx.rows(NAMES)) == [("a",)]
        with pytest.raises(StorageError, match="readonly"):
            await database.read(add)
        assert database.write(add).result() == "a"
        stats = database.writer_stats
        assert (stats.commits, stats.units, stats.failures) == (2, 2, 4)


async def test_rows_of_a_bulk() -> None:
    """Each row is stored, or refused with nothing of it kept."""

    def run(tx: Tx, rows: Sequence[str]) -> None:
        for name in rows:
            add(tx, name)
            if name == "bad":
                raise LookupError(name)

    bulk: Bulk[str] = Bulk(0, run)
    async with Database.in_memory() as database:
        told = await asyncio.gather(
            *[database.write_row(bulk, name) for name in ("a", "bad", "b")], return_exceptions=True
        )
        assert [told[0], told[2]] == [None, None]
        assert isinstance(told[1], LookupError)
        database.post_row(bulk, "c")
        assert await database.read(lambda tx: tx.rows(NAMES)) == [("a",), ("b",), ("c",)]


async def test_posted_units(caplog: pytest.LogCaptureFixture) -> None:
    """They never raise; what fails is logged."""
    async with Database.in_memory() as database:
        database.post(add)
        database.post(fail)
        assert await database.read(lambda tx: tx.rows(NAMES)) == [("a",)]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ValueError]


async def test_it_is_alone() -> None:
    """Nobody else writes, so that nothing changes and no heartbeat is needed; its place is told."""
    async with Database.in_memory() as database:
        await database.write(add)
        assert (database.shared, database.place) == (False, "memory")
        assert not await database.changed()
        assert database.repeat(add, 1.0, print) is None
        assert await database.read(lambda tx: tx.now(5.0)) == 5.0


async def test_closed_is_said() -> None:
    """After a close, which may come twice, each use is refused in words."""
    database = Database.in_memory()
    await database.close()
    await database.close()
    with pytest.raises(StorageError, match="closed"):
        await database.write(add)
    with pytest.raises(StorageError, match="closed"):
        await database.read(add)
    with pytest.raises(StorageError, match="closed"):
        database.post(add)
