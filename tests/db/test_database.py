"""The database as the floors above use it."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, text, update

from understudy.db.database import Database, Statement, Tx
from understudy.db.schema import runs
from understudy.errors import ConfigError, StorageError

Row = Callable[[str], dict[str, Any]]

ADD = Statement(insert(runs))
IDS = Statement(select(runs.c.id).order_by(runs.c.id))
ALL_LATER = Statement(update(runs).values(wake_at=9.0))
SIGNALS = Statement(text("SELECT count(*) FROM signals"))
SIGNAL = "INSERT INTO signals (tenant, name, data, created_at) VALUES ('t', 'n', '{}', 1)"
PRAGMAS = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "query_only")


def pragmas(tx: Tx) -> list[object]:
    """What a connection is set to."""
    return [tx.scalar(Statement(text(f"PRAGMA {name}"))) for name in PRAGMAS]


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return [path.name for path in folder.iterdir()]


def size(path: Path) -> int:
    """The length of a file in bytes."""
    return path.stat().st_size


async def test_written_then_read(any_url: str, run_row: Row) -> None:
    """A unit's result comes back, and what it wrote is there for readers, in each shape."""
    async with await Database.open(any_url) as database:
        assert await database.write(lambda tx: tx.execute(ADD, run_row("run_1"))) == 1
        await database.write(lambda tx: tx.execute_many(ADD, [run_row("run_2"), run_row("run_3")]))
        assert await database.write(lambda tx: tx.execute(ALL_LATER)) == 3
        assert await database.read(lambda tx: tx.rows(IDS)) == [("run_1",), ("run_2",), ("run_3",)]
        assert await database.read(lambda tx: tx.row(IDS)) == ("run_1",)
        assert await database.read(lambda tx: tx.scalar(IDS)) == "run_1"


async def test_nothing_found(any_url: str) -> None:
    """No row is None, whichever way it is asked for."""
    async with await Database.open(any_url) as database:
        assert await database.read(lambda tx: tx.row(IDS)) is None
        assert await database.read(lambda tx: tx.scalar(IDS)) is None
        assert await database.read(lambda tx: tx.rows(IDS)) == []


async def test_durable_settings(url: str) -> None:
    """Both kinds of connection are in WAL mode with full durability; readers cannot write."""
    async with await Database.open(url) as database:
        assert await database.write(pragmas) == ["wal", 2, 1, 30_000, 0]
        assert await database.read(pragmas) == ["wal", 2, 1, 30_000, 1]


async def test_a_query_cannot_write(url: str, run_row: Row) -> None:
    """A query that tries is refused by SQLite and changes nothing."""
    async with await Database.open(url) as database:
        with pytest.raises(StorageError, match="readonly"):
            await database.read(lambda tx: tx.execute(ADD, run_row("run_1")))
        assert await database.read(lambda tx: tx.rows(IDS)) == []


async def test_a_query_sees_one_snapshot(url: str, run_row: Row) -> None:
    """Two questions of one query get answers of one moment, whatever is committed between."""
    async with await Database.open(url) as database:
        other = sqlite3.connect(Path(database.place), isolation_level=None, check_same_thread=False)

        def query(tx: Tx) -> tuple[int, int]:
            before = tx.scalar(SIGNALS)
            other.execute(SIGNAL)
            return before, tx.scalar(SIGNALS)

        assert await database.read(query) == (0, 0)
        assert await database.read(query) == (1, 1)
        other.close()


async def test_readers_do_not_wait_for_the_writer(url: str, run_row: Row) -> None:
    """A query is answered in the middle of a write, with what was committed before it."""
    async with await Database.open(url) as database:
        other = sqlite3.connect(Path(database.place), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        other.execute(SIGNAL)
        assert await database.read(lambda tx: tx.scalar(SIGNALS)) == 0
        other.execute("COMMIT")
        assert await database.read(lambda tx: tx.scalar(SIGNALS)) == 1
        other.close()


async def test_what_others_commit_is_noticed(url: str, run_row: Row) -> None:
    """`changed` tells commits of others from our own, and each of them once."""
    async with await Database.open(url) as database, await Database.open(url) as other:
        assert not await database.changed()
        await database.write(lambda tx: tx.execute(ADD, run_row("run_1")))
        assert not await database.changed()
        await other.write(lambda tx: tx.execute(ADD, run_row("run_2")))
        assert await database.changed()
        assert not await database.changed()
        assert await other.changed() is False


async def test_files_are_private(url: str, path: Path, run_row: Row) -> None:
    """The folder is the owner's alone, and so is every file of the database."""
    async with await Database.open(url) as database:
        await database.write(lambda tx: tx.execute(ADD, run_row("run_1")))
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        assert len(modes) >= 3
        assert set(modes.values()) == {0o600}


async def test_closing_leaves_one_file(url: str, path: Path, run_row: Row) -> None:
    """After a close everything is in the database file itself, ready to be copied."""
    async with await Database.open(url) as database:
        await database.write(lambda tx: tx.execute(ADD, run_row("run_1")))
        await database.read(lambda tx: tx.rows(IDS))
    assert not path.with_name("understudy.db-wal").exists()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT id FROM runs").fetchall() == [("run_1",)]
    connection.close()


async def test_closing_beside_others(url: str, path: Path, run_row: Row) -> None:
    """While another process has the file open, closing still copies all and empties the log."""
    async with await Database.open(url) as database:
        await database.write(lambda tx: tx.execute(ADD, run_row("run_1")))
        other = sqlite3.connect(path)
        assert other.execute("SELECT id FROM runs").fetchall() == [("run_1",)]
    assert size(path.with_name("understudy.db-wal")) == 0
    other.close()


async def test_closed_is_said(any_url: str) -> None:
    """After a close, which may come twice, each use is refused in words."""
    database = await Database.open(any_url)
    await database.close()
    await database.close()
    with pytest.raises(StorageError, match="closed"):
        await database.write(lambda tx: None)
    with pytest.raises(StorageError, match="closed"):
        await database.read(lambda tx: None)
    with pytest.raises(StorageError, match="closed"):
        database.post(lambda tx: None)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("understudy.db", "URL is none"),
        ("host=h password=secret", "URL is none"),
        ("mysql://u:secret@h/d", "begins with 'mysql'"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "names no file"),
    ],
)
async def test_other_databases_are_refused(url: str, said: str) -> None:
    """What this release cannot use is refused with what to use, and no password is repeated."""
    with pytest.raises(ConfigError, match=said) as refusal:
        await Database.open(url)
    assert "secret" not in str(refusal.value)


async def test_any_path_will_do(tmp_path: Path) -> None:
    """Spaces, question marks and the like are a part of the path and nothing else."""
    path = tmp_path / "a ?b=#%20" / "ü.db"
    async with await Database.open(f"sqlite:///{path}"):
        assert path.exists()
    async with await Database.open(f"sqlite:///{path}"):
        pass
    assert names(tmp_path) == ["a ?b=#%20"]


async def test_opening_is_given_up(any_url: str) -> None:
    """Whoever is cancelled while a database opens leaves no thread and no connection behind."""
    before = set(threading.enumerate())
    opening = asyncio.ensure_future(Database.open(any_url))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not any(name.startswith("understudy") for name in left)
    async with await Database.open(any_url) as database:
        assert await database.read(lambda tx: tx.rows(IDS)) == []
