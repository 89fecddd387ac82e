"""PostgreSQL as our database: who runs beside whom, and who is told what."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psycopg
import pytest

from understudy.db.database import Bulk, Database, RowsStatement, Tx, sql
from understudy.db.postgres import PostgreSQL
from understudy.db.postgres_session import LOCK
from understudy.errors import InputError, StorageError, StorageFull

ADD = sql("INSERT INTO signals (tenant, name, data, created_at) VALUES ('t', :name, '{}', 1)")
NAMES = sql("SELECT name FROM signals ORDER BY id")
COUNT = sql("SELECT count(*) FROM signals")
ORPHAN = sql("INSERT INTO waits VALUES ('nobody', 'k', 't', 'n', '{}')")
ROWS = RowsStatement(
    {"name": "text"},
    "INSERT INTO signals (tenant, name, data, created_at) "
    "SELECT 't', name, '{}', 1 FROM {rows} AS rows",
)


def add(name: str) -> Callable[[Tx], str]:
    """A unit of work."""

    def unit(tx: Tx) -> str:
        tx.execute(ADD, {"name": name})
        return name

    return unit


def add_rows(tx: Tx, names: Sequence[str]) -> None:
    """The same for many callers."""
    assert tx.execute_rows(ROWS, [(name,) for name in names]) == len(names)


ADD_ROWS: Bulk[str] = Bulk(0, add_rows)


async def names(database: Database) -> list[str]:
    """What is stored."""
    return [name for (name,) in await database.read(lambda tx: tx.rows(NAMES))]


@contextlib.contextmanager
def asking(url: str) -> Iterator[Callable[..., Any]]:
    """A connection of nobody; yields what asks one question."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield lambda *question: connection.execute(*question).fetchall()


async def test_a_failing_unit_is_undone_alone(postgres_url: str) -> None:
    """Its caller hears the database's own error; the others of its batch share one commit."""
    async with await Database.open(postgres_url) as database:
        answers = await asyncio.gather(
            database.write(add("a")),
            database.write(lambda tx: tx.execute(ORPHAN)),
            database.write(add("b")),
            return_exceptions=True,
        )
        assert [answers[0], answers[2]] == ["a", "b"]
        assert isinstance(answers[1], psycopg.errors.ForeignKeyViolation)
        assert await names(database) == ["a", "b"]
        assert database.writer_stats.commits == 1


async def test_an_error_that_a_unit_caught(postgres_url: str) -> None:
    """PostgreSQL answers such a commit with a rollback and no error: nobody is told it stands."""

    def careless(tx: Tx) -> str:
        with contextlib.suppress(psycopg.IntegrityError):
            tx.execute(ORPHAN)
        return "stored"

    async with await Database.open(postgres_url) as database:
        with pytest.raises(StorageError, match="went on after an error"):
            await database.write(careless)
        answers = await asyncio.gather(
            database.write(add("a")), database.write(careless), database.write(add("b")),
            return_exceptions=True,
        )  # fmt: skip
        assert [answers[0], answers[2]] == ["a", "b"]
        assert isinstance(answers[1], Exception)
        assert await names(database) == ["a", "b"]


async def test_a_failed_commit_fails_everybody(postgres_url: str) -> None:
    """When the commit itself fails nothing of the batch is kept, and every caller is told."""
    async with await Database.open(postgres_url) as database:
        with psycopg.connect(postgres_url) as connection:
            connection.execute(
                "ALTER TABLE waits ALTER CONSTRAINT waits_run_id_fkey DEFERRABLE INITIALLY DEFERRED"
            )
        good, bad = await asyncio.gather(
            database.write(add("a")),
            database.write(lambda tx: tx.execute(ORPHAN)),
            return_exceptions=True,
        )
        assert [type(good), type(bad)] == [StorageError, StorageError]
        assert good is not bad
        assert await names(database) == []
        assert await database.write(add("later")) == "later"


async def test_shared_units_run_beside_each_other(postgres_url: str) -> None:
    """Two databases' units are both inside at once, and so is a Bulk; one that is alone waits."""
    both = threading.Barrier(3, timeout=30)

    def meets(tx: Tx) -> str:
        both.wait()
        return "met"

    def row_meets(tx: Tx, _: Sequence[None]) -> None:
        meets(tx)

    bulk: Bulk[None] = Bulk(0, row_meets)
    async with (
        await Database.open(postgres_url) as one,
        await Database.open(postgres_url) as two,
        await Database.open(postgres_url) as three,
    ):
        units = one.write(meets, alone=False), two.write(meets, alone=False)
        await asyncio.gather(*units, three.write_row(bulk, None))


@pytest.mark.parametrize("alone", [True, False])
async def test_who_is_alone_excludes_all(postgres_url: str, *, alone: bool) -> None:
    """While it runs, units of others wait for the lock, and go on after it."""
    inside, free = threading.Event(), threading.Event()

    def holds(_: Tx) -> None:
        inside.set()
        free.wait(30)

    async with await Database.open(postgres_url) as one, await Database.open(postgres_url) as two:
        first = one.write(holds)
        await asyncio.to_thread(inside.wait, 30)
        second = two.write(add("a"), alone=alone)
        with asking(postgres_url) as ask:
            waiting = "SELECT granted FROM pg_locks WHERE locktype = 'advisory' AND objid = %s"
            while (False,) not in await asyncio.to_thread(ask, waiting, [LOCK]):
                pass  # the server says when the other one waits
        assert not second.done()
        free.set()
        await first
        assert await second == "a"


async def test_a_batch_is_alone_if_one_unit_is(postgres_url: str) -> None:
    """Rows and units that could share run under the lock of the one that cannot."""
    locks = sql("SELECT mode FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
    async with await Database.open(postgres_url) as database:
        mode = database.write(lambda tx: tx.scalar(locks), alone=False)
        assert await mode == "ShareLock"
        told = await asyncio.gather(
            database.write_row(ADD_ROWS, "a"),
            database.write(lambda tx: tx.scalar(locks), alone=False),
            database.write(lambda tx: None, alone=True),
            database.write_row(ADD_ROWS, "b"),
        )
        assert list(told) == [None, "ExclusiveLock", None, None]
        assert await names(database) == ["a", "b"]


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
async def test_text_that_cannot_be_stored(any_url: str, text: str) -> None:
    """Half a surrogate, and a NUL on PostgreSQL, is refused to its caller alone."""
    stored = any_url.startswith("sqlite") and text != "\ud800"
    async with await Database.open(any_url) as database:
        told = await asyncio.gather(
            database.write(add("a")), database.write(add(text)), database.write_row(ADD_ROWS, "b"),
            database.write_row(ADD_ROWS, text), return_exceptions=True,
        )  # fmt: skip
        nothing = type(None)
        wanted = [str, str, nothing, nothing] if stored else [str, InputError, nothing, InputError]
        assert [type(answer) for answer in told] == wanted
        assert {"a", "b"} <= set(await names(database))
        assert len(await names(database)) == (4 if stored else 2)
        if not stored:
            with pytest.raises(InputError, match="cannot hold this text"):
                await database.read(
                    lambda tx: tx.scalar(sql("SELECT CAST(:a AS text)"), {"a": text})
                )


async def test_what_the_disk_says(postgres_url: str) -> None:
    """A full disk is told as one, a lack of memory as trouble, and a bug of ours as itself."""
    driver = PostgreSQL(postgres_url)
    full = sql(
        "DO 'BEGIN RAISE EXCEPTION ''could not extend file'' USING ERRCODE = ''53100''; END'"
    )
    async with await Database.of(driver) as database:
        with pytest.raises(StorageFull, match="no space is left for the database postgresql://"):
            await database.write(lambda tx: tx.execute(full))
        with pytest.raises(psycopg.errors.UndefinedTable):
            await database.read(lambda tx: tx.rows(sql("SELECT * FROM nowhere")))
        with pytest.raises(StorageError, match="read-only"):
            await database.read(lambda tx: tx.execute(ADD, {"name": "a"}))
    assert type(driver.understood(psycopg.errors.OutOfMemory("memory"))) is StorageError


async def test_one_snapshot(postgres_url: str) -> None:
    """Two questions of one query get answers of one moment, whatever is committed between."""
    async with await Database.open(postgres_url) as database:
        with asking(postgres_url) as ask:

            def query(tx: Tx) -> tuple[int, int]:
                before = tx.scalar(COUNT)
                ask("INSERT INTO signals (tenant, name, data, created_at) VALUES ('t','n','',1)"
                    " RETURNING id")  # fmt: skip
                return before, tx.scalar(COUNT)

            assert await database.read(query) == (0, 0)
            assert await database.read(query) == (1, 1)


async def test_everybodys_clock(postgres_url: str) -> None:
    """Time comes from the server, unless the driver is told to leave that to its caller."""
    with asking(postgres_url) as ask:
        ((before,),) = ask("SELECT extract(epoch from clock_timestamp())::float8")
    async with await Database.open(postgres_url) as database:
        assert await database.write(lambda tx: tx.now(1.0)) >= before
    async with await Database.of(PostgreSQL(postgres_url, own_clock=False)) as database:
        assert await database.write(lambda tx: tx.now(1.0)) == 1.0
        assert await database.read(lambda tx: tx.now(1.0)) == 1.0


async def test_settings_of_a_session(postgres_url: str) -> None:
    """Whatever the server's defaults: durable commits, which read what is committed."""
    with asking(postgres_url) as ask:
        ((name,),) = ask("SELECT current_database()")
    with psycopg.connect(postgres_url) as connection:
        for setting in (
            "default_transaction_isolation = serializable",
            "synchronous_commit = off",
            "lock_timeout = 1",
            "statement_timeout = 10000",
        ):
            connection.execute(f"ALTER DATABASE {name} SET {setting}")
    shown = [
        sql(f"SHOW {name}")
        for name in (
            "synchronous_commit",
            "transaction_isolation",
            "idle_in_transaction_session_timeout",
            "lock_timeout",
            "statement_timeout",
        )
    ]
    async with await Database.open(postgres_url) as database:
        told = await database.write(lambda tx: [tx.scalar(one) for one in shown])
        assert told == ["on", "read committed", "2s", "0", "0"]
