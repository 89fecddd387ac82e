"""The disk is full, the folder read-only, the process killed, another one at work."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, text

from understudy.db import sqlite
from understudy.db.database import Database, Statement
from understudy.db.schema import runs
from understudy.errors import ConfigError, StorageError, StorageFull

Row = Callable[[str], dict[str, Any]]

ADD = Statement(insert(runs))
IDS = Statement(select(runs.c.id).order_by(runs.c.id))
NOBODY = 65534

WRITE = """
import asyncio, os, sys
from sqlalchemy import text
from understudy.db.database import Database, Statement

SIGNAL = Statement(
    text("INSERT INTO signals (tenant, name, data, created_at) VALUES ('t', :name, '{}', 1)")
)
BLOB = Statement(text(
    "INSERT INTO blobs (tenant, sha256, size, location, created_at)"
    " VALUES ('t', :name, 1, :name, 1)"
))

async def caller(database, who):
    for number in range(1_000_000):
        def unit(tx, name=f"{sys.argv[2]}-{who}-{number}"):
            tx.execute(SIGNAL, {"name": name})
            tx.execute(BLOB, {"name": name})
            return name
        name = await database.write(unit)
        os.write(1, f"{name}\\n".encode())
        if number == int(sys.argv[3]):
            return

async def main():
    async with await Database.open(sys.argv[1]) as database:
        await asyncio.gather(*[caller(database, who) for who in range(30)])

asyncio.run(main())
"""


def stored(path: Path) -> set[str]:
    """The names in a sound database, each of which must be there twice or not at all."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        names = {name for (name,) in connection.execute("SELECT name FROM signals")}
        assert names == {name for (name,) in connection.execute("SELECT sha256 FROM blobs")}
    return names


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return [path.name for path in folder.iterdir()]


def is_mounted(folder: Path) -> bool:
    """Whether a folder is a file system of its own."""
    return os.path.ismount(folder)


def damage(path: Path) -> None:
    """Overwrite all of a database but its first page."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))


def put_folder(path: Path) -> None:
    """Make a folder where the database should be."""
    path.mkdir(parents=True)


def test_killed_while_writing(
    tmp_path: Path, child: Callable[..., Any], rounds: Callable[[int, int], int]
) -> None:
    """After SIGKILL in the middle of heavy writing, all that was acknowledged is there, whole."""
    for number in range(rounds(30, 3)):
        path = tmp_path / f"{number}.db"
        process = child(WRITE, f"sqlite:///{path}", "k", 1_000_000)
        acknowledged = {process.stdout.readline().strip() for _ in range(1 + 977 * number)}
        process.send_signal(signal.SIGKILL)
        acknowledged |= {line.strip() for line in process.stdout if line.endswith("\n")}
        assert len(acknowledged) > 977 * number
        assert acknowledged <= stored(path)


async def test_two_processes_write_at_once(url: str, path: Path, child: Callable[..., Any]) -> None:
    """Both get all their writes done, and this one reads and writes beside them."""
    async with await Database.open(url) as database:
        processes = [child(WRITE, url, who, 49) for who in "ab"]
        mine = Statement(text("UPDATE alembic_version SET version_num = version_num"))
        while any(process.poll() is None for process in processes):
            await database.write(lambda tx: tx.execute(mine))
            await database.read(lambda tx: tx.rows(IDS))
        said = [process.communicate()[0].split() for process in processes]
        assert [len(lines) for lines in said] == [1500, 1500]
        assert await database.changed() is False
    assert stored(path) == {*said[0], *said[1]}


async def test_a_full_database(url: str, run_row: Row) -> None:
    """SQLite gives up the whole transaction: everybody in it is told so, and who fits may retry."""
    async with await Database.open(url) as database:
        pages = await database.write(lambda tx: tx.scalar(Statement(text("PRAGMA page_count"))))
        limit = Statement(text(f"PRAGMA max_page_count = {pages + 4}"))
        await database.write(lambda tx: tx.scalar(limit))
        big = run_row("big") | {"input": "x" * 100_000}
        small = database.write(lambda tx: tx.execute(ADD, run_row("small")))
        large = database.write(lambda tx: tx.execute(ADD, big))
        answers = await asyncio.gather(small, large, return_exceptions=True)
        assert [type(answer) for answer in answers] == [StorageFull, StorageFull]
        assert await database.read(lambda tx: tx.rows(IDS)) == []
        await database.write(lambda tx: tx.execute(ADD, run_row("small")))
        assert await database.read(lambda tx: tx.rows(IDS)) == [("small",)]


async def test_a_full_disk(small_disk: Path, run_row: Row) -> None:
    """ENOSPC at the commit is told to the caller, nothing is kept of it, and room mends it."""
    async with await Database.open(f"sqlite:///{small_disk}/understudy.db") as database:
        await database.write(lambda tx: tx.execute(ADD, run_row("before")))
        big = run_row("big") | {"input": "x" * 2_000_000}
        with pytest.raises(StorageError, match=r"understudy\.db") as refused:
            await database.write(lambda tx: tx.execute(ADD, big))
        assert isinstance(refused.value, StorageFull) or not is_mounted(small_disk)
        assert await database.read(lambda tx: tx.rows(IDS)) == [("before",)]
        await database.write(lambda tx: tx.execute(ADD, run_row("after")))
        assert await database.read(lambda tx: tx.rows(IDS)) == [("after",), ("before",)]


@pytest.fixture
def readonly() -> Iterator[Path]:
    """A folder that this user (nobody, when the tests run as root) may read but not write."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    (folder / "home").mkdir()
    (folder / "home" / "old.db").touch(mode=0o666)
    (folder / "home" / "old.db").chmod(0o666)
    (folder / "home").chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    yield folder / "home"
    os.seteuid(user)
    (folder / "home").chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["new.db", "old.db", "deeper/new.db"])
async def test_a_read_only_home(readonly: Path, name: str) -> None:
    """It is refused before anything is written, with the reason and what to change."""
    with pytest.raises(ConfigError, match=r"cannot write the database .*--home"):
        await Database.open(f"sqlite:///{readonly}/{name}")
    assert names(readonly) == ["old.db"]


def test_no_room_for_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk so full that the file cannot even be made is told as full, not as forbidden."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(StorageFull):
        sqlite.create(path)


async def test_a_broken_file(url: str, path: Path, run_row: Row) -> None:
    """A damaged database is told as a storage error with SQLite's own name for it."""
    async with await Database.open(url) as database:
        await database.write(
            lambda tx: tx.execute_many(ADD, [run_row(f"{n:03}") for n in range(200)])
        )
    damage(path)
    with pytest.raises(StorageError, match="SQLITE_CORRUPT"):
        async with await Database.open(url) as database:
            await database.read(lambda tx: tx.rows(IDS))


async def test_a_folder_in_the_way(url: str, path: Path) -> None:
    """What is no file at all is refused as the place it is."""
    put_folder(path)
    with pytest.raises(ConfigError, match="directory"):
        await Database.open(url)


async def test_a_wrong_question(url: str) -> None:
    """What is not about the disk comes through as SQLite says it: it is a bug of ours."""
    async with await Database.open(url) as database:
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            await database.read(lambda tx: tx.rows(Statement(text("SELECT * FROM nowhere"))))


def test_a_connection_that_fails_is_closed(path: Path) -> None:
    """A file that is no database is refused at the first connection, which is not left open."""
    path.parent.mkdir()
    path.write_bytes(b"not a database, whatever its name may promise" * 100)
    with pytest.raises(ConfigError, match="not a SQLite database"):
        sqlite.connect(path)
