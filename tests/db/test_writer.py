"""Group commit: who shares a transaction, who is told what, and that the writer lives on."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import bindparam, insert, select, text

from understudy.db import sqlite
from understudy.db.database import Database, Statement, Tx
from understudy.db.schema import runs, waits
from understudy.errors import StorageError

Row = Callable[[str], dict[str, Any]]

ADD = Statement(insert(runs))
ADD_WAIT = Statement(insert(waits))
IDS = Statement(select(runs.c.id).order_by(runs.c.id))
DEFER = Statement(text("PRAGMA defer_foreign_keys = ON"))
ROLLBACK = Statement(text("ROLLBACK"))
NO_RUN = {"run_id": "nobody", "key": "k", "tenant": "t", "name": "n", "fields": "{}"}
SIGNAL = Statement(
    text("INSERT INTO signals (tenant, name, data, created_at) VALUES ('t', :name, '{}', 1)")
)
NAMES = Statement(text("SELECT name FROM signals ORDER BY id"))
CLEAR = Statement(text("DELETE FROM signals"))


@contextlib.asynccontextmanager
async def gathered(database: Database) -> AsyncIterator[None]:
    """What is queued inside the block makes up one batch: the writer is held up until its end."""
    inside, free = threading.Event(), threading.Event()

    def hold(_: Tx) -> None:
        inside.set()
        free.wait(30)

    database.post(hold)
    await asyncio.to_thread(inside.wait, 30)
    try:
        yield
        await asyncio.sleep(0)  # the tasks made in the block queue their units
    finally:
        free.set()


def add(tx: Tx, row: dict[str, Any]) -> None:
    """Store a run."""
    tx.execute(ADD, row)


async def test_one_bad_unit_in_a_thousand(any_url: str, run_row: Row) -> None:
    """It is rolled back, its caller alone is told, and the others share one commit."""

    def unit(number: int) -> Callable[[Tx], int]:
        def work(tx: Tx) -> int:
            tx.execute(ADD, run_row(f"run_{number:04}"))
            if number == 437:
                raise ValueError("the bad one")
            return number

        return work

    async with await Database.open(any_url) as database:
        async with gathered(database):
            tasks = [asyncio.ensure_future(database.write(unit(n))) for n in range(1000)]
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        failed = {n: answer for n, answer in enumerate(answers) if answer != n}
        assert list(failed) == [437]
        assert isinstance(failed[437], ValueError)
        stored = await database.read(lambda tx: tx.rows(IDS))
        assert stored == [(f"run_{n:04}",) for n in range(1000) if n != 437]
        stats = database.writer_stats
        assert (stats.commits, stats.units, stats.failures) == (2, 1001, 1)
        assert (stats.last_batch, stats.max_batch) == (1000, 1000)
        assert stats.commit_seconds > 0


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(plan=st.lists(st.tuples(st.booleans(), st.integers(1, 3)), max_size=40))
async def test_a_batch_is_as_good_as_one_by_one(any_url: str, plan: list[tuple[bool, int]]) -> None:
    """Whichever units fail, after however many statements: the good ones stand, in order."""

    def unit(number: int, *, good: bool, statements: int) -> Callable[[Tx], None]:
        def work(tx: Tx) -> None:
            for part in range(statements):
                tx.execute(SIGNAL, {"name": f"{number}.{part}"})
            if not good:
                raise LookupError(number)

        return work

    async with await Database.open(any_url) as database:
        await database.write(lambda tx: tx.execute(CLEAR))
        units = [unit(i, good=good, statements=n) for i, (good, n) in enumerate(plan)]
        async with gathered(database):
            tasks = [asyncio.ensure_future(database.write(one)) for one in units]
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert [answer is None for answer in answers] == [good for good, _ in plan]
        expected = [f"{i}.{k}" for i, (good, n) in enumerate(plan) if good for k in range(n)]
        assert await database.read(lambda tx: tx.rows(NAMES)) == [(name,) for name in expected]


async def test_a_failed_commit_fails_everybody(url: str, run_row: Row) -> None:
    """When the commit itself fails nothing of the batch is kept, and every caller is told."""

    def orphan(tx: Tx) -> None:
        tx.execute(DEFER)
        tx.execute(ADD_WAIT, NO_RUN)

    async with await Database.open(url) as database:
        async with gathered(database):
            good = asyncio.ensure_future(database.write(lambda tx: tx.execute(ADD, run_row("a"))))
            bad = asyncio.ensure_future(database.write(orphan))
        answers = await asyncio.gather(good, bad, return_exceptions=True)
        assert [type(answer) for answer in answers] == [StorageError, StorageError]
        assert answers[0] is not answers[1]
        assert await database.read(lambda tx: tx.rows(IDS)) == []
        await database.write(lambda tx: tx.execute(ADD, run_row("later")))
        assert await database.read(lambda tx: tx.rows(IDS)) == [("later",)]


@pytest.mark.parametrize("raised", [None, ValueError("afterwards")])
async def test_a_transaction_lost_inside_a_unit(
    url: str, run_row: Row, raised: Exception | None
) -> None:
    """When SQLite gives up the transaction in mid-batch, nobody is told that his unit stands."""

    def lose(tx: Tx) -> None:
        tx.execute(ROLLBACK)  # what SQLite does itself at some errors of a disk
        if raised is not None:
            raise raised

    async with await Database.open(url) as database:
        async with gathered(database):
            before = asyncio.ensure_future(database.write(lambda tx: tx.execute(ADD, run_row("a"))))
            lost = asyncio.ensure_future(database.write(lose))
        answers = await asyncio.gather(before, lost, return_exceptions=True)
        assert [type(answer) for answer in answers] == [StorageError, StorageError]
        assert await database.read(lambda tx: tx.rows(IDS)) == []
        await database.write(lambda tx: tx.execute(ADD, run_row("later")))


async def test_what_a_unit_raises_is_raised(any_url: str) -> None:
    """The caller gets the very exception, also one that is no Exception, as interrupts are."""

    class Interrupt(BaseException):
        pass

    def interrupt(_: Tx) -> None:
        raise Interrupt

    def run_dry(_: Tx) -> None:
        next(iter(()))

    async with await Database.open(any_url) as database:
        with pytest.raises(Interrupt):
            await database.write(interrupt)
        with pytest.raises(RuntimeError, match="StopIteration"):
            await database.write(run_dry)
        with pytest.raises((sqlite3.IntegrityError, psycopg.IntegrityError)):
            await database.write(lambda tx: tx.execute(ADD_WAIT, NO_RUN))


async def test_a_cancelled_caller_keeps_its_unit(any_url: str, run_row: Row) -> None:
    """Cancelling who waits does not take back what was asked."""
    async with await Database.open(any_url) as database:
        async with gathered(database):
            task = asyncio.ensure_future(database.write(lambda tx: tx.execute(ADD, run_row("a"))))
            await asyncio.sleep(0)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await database.write(lambda tx: None)
        assert await database.read(lambda tx: tx.rows(IDS)) == [("a",)]


async def test_posted_units(any_url: str, run_row: Row, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waits for them, a failing one is logged, and closing writes them all first."""

    def fail(_: Tx) -> None:
        raise ValueError("unheard")

    async with await Database.open(any_url) as database:
        for number in range(100):
            database.post(partial(add, row=run_row(f"{number:02}")))
        database.post(fail)
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ValueError]
    async with await Database.open(any_url) as database:
        assert len(await database.read(lambda tx: tx.rows(IDS))) == 100


async def test_a_loop_is_woken_once_a_batch(any_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many callers a batch answers, it costs the event loop one wake-up."""
    loop = asyncio.get_running_loop()
    wake, woken = loop.call_soon_threadsafe, []

    def count(callback: Callable[..., object], *args: Any, **options: Any) -> asyncio.Handle:
        if "listener" not in threading.current_thread().name:  # which speaks of others' writes
            woken.append(callback)
        return wake(callback, *args, **options)

    async with await Database.open(any_url) as database:
        async with gathered(database):
            tasks = [asyncio.ensure_future(database.write(lambda tx: None)) for _ in range(50)]
            await asyncio.sleep(0)
            monkeypatch.setattr(loop, "call_soon_threadsafe", count)
        await asyncio.gather(*tasks)
        assert len(woken) == 1


async def test_two_loops_share_a_writer(any_url: str, run_row: Row) -> None:
    """Callers of different event loops are each answered on their own."""
    async with await Database.open(any_url) as database:

        async def elsewhere() -> int:
            return await database.write(lambda tx: tx.execute(ADD, run_row("b")))

        other = asyncio.to_thread(lambda: asyncio.run(elsewhere()))
        here = database.write(lambda tx: tx.execute(ADD, run_row("a")))
        assert list(await asyncio.gather(other, here)) == [1, 1]


async def test_a_loop_that_has_gone(any_url: str, run_row: Row) -> None:
    """An answer to a loop that closed meanwhile is dropped, and others are still answered."""
    async with await Database.open(any_url) as database:

        async def leave() -> None:
            task = asyncio.ensure_future(database.write(partial(add, row=run_row("a"))))
            await asyncio.sleep(0)
            left.append(task)

        left: list[asyncio.Future[None]] = []
        async with gathered(database):
            await asyncio.to_thread(lambda: asyncio.run(leave()))
        assert await database.write(lambda tx: tx.rows(IDS)) == [("a",)]


async def test_another_process_is_waited_for(
    url: str, run_row: Row, heard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file held for longer than SQLite waits is said in the log, and the write still happens."""
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.01)
    async with await Database.open(url) as database:
        other = sqlite3.connect(database.place, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        task = asyncio.ensure_future(database.write(lambda tx: tx.execute(ADD, run_row("a"))))
        await asyncio.to_thread(heard.wait_for, "database_held_by_another_process")
        assert not task.done()
        other.execute("ROLLBACK")
        other.close()
        assert await task == 1


async def test_a_literal_and_a_parameter(any_url: str, run_row: Row) -> None:
    """A statement with both runs as it reads."""
    queued = Statement(
        select(runs.c.id).where(runs.c.status == "queued", runs.c.id == bindparam("id"))
    )
    async with await Database.open(any_url) as database:
        await database.write(lambda tx: tx.execute(ADD, run_row("a")))
        assert await database.read(lambda tx: tx.scalar(queued, {"id": "a"})) == "a"
