"""A person is erased: what runs is stopped, what was done is gone, and the report says how much."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from understudy import Context, operation
from understudy.artifacts.artifacts import Artifacts
from understudy.artifacts.stores.disk import Disk
from understudy.clock import ManualClock
from understudy.db.database import Database, sql
from understudy.db.postgres import PostgreSQL
from understudy.engine.engine import Engine
from understudy.engine.journals.database import DatabaseJournal
from understudy.engine.journals.erasing import DatabaseErasing
from understudy.engine.registry import Registry
from understudy.engine.run import Run, RunFilter
from understudy.errors import NotFound
from understudy.operations.erasure import Eraser, EraseUser, erase_user, pseudonym
from understudy.testing.harness import TENANT, Answer, Given, Harness

SECRET = "the face of ann"


@operation("works")
async def works(ctx: Context, input: Given) -> Answer:
    """Remembers what it was given."""
    return Answer(value=await ctx.step("one", lambda: SECRET))


@operation("waits")
async def waits(ctx: Context, input: Given) -> Answer:
    """Is open for ever."""
    return Answer(value=await ctx.wait("never"))


@operation("cleans")
async def cleans(ctx: Context, input: Given) -> Answer:
    """Takes its time to stop."""
    await ctx.step("busy", stubborn)
    return Answer()


async def stubborn() -> None:
    """Ends half a minute after it is told to."""
    try:
        await asyncio.Event().wait()
    finally:
        await CLOCK[0].sleep(30)


CLOCK: list[ManualClock] = []


@pytest.fixture(params=["memory", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """SQLite in memory, and PostgreSQL."""
    if request.param == "memory":
        yield Database.in_memory()
        return
    url = request.getfixturevalue("postgres_url")
    database = asyncio.run(Database.of(PostgreSQL(url, own_clock=False)))
    yield database
    asyncio.run(database.close())


@asynccontextmanager
async def house(database: Database, home: Path) -> AsyncIterator[tuple[Harness, Artifacts]]:
    """A worker that knows how to erase, and the files of its tenant."""
    clock = ManualClock()
    CLOCK[:] = [clock]
    files = Artifacts(
        database=database,
        store=Disk(home / "artifacts", clock),
        tmp=home / "tmp",
        clock=clock,
        tenant=TENANT,
    )
    journal = DatabaseJournal(database)
    engine = Engine(journal, Registry([works, waits, cleans], {}), clock)
    harness = Harness(
        [works, waits, cleans, erase_user],
        journal=journal,
        provided={Eraser: Eraser(engine, DatabaseErasing(database), files)},
        clock=clock,
    )
    async with harness:
        engine.attach(harness.plan)
        yield harness, files


async def erased(harness: Harness, user: str) -> Run:
    """The run that has erased them."""
    return await over(harness, (await harness.submit("erase-user", {"user": user})).id)


async def over(harness: Harness, run_id: str) -> Run:
    """The run once it is done. The harness knows nothing of what it reads beside the journal, nor
    of the threads that delete files: it is asked again, each time a second later.
    """
    for _ in range(2000):
        await harness.settle()
        run = await harness.engine.get(run_id)
        if run.done:
            return run
        harness.clock.advance(1)
    raise AssertionError(f"{run_id} does not end: {run}")


async def left(harness: Harness) -> list[str]:
    """The runs that are still there, but for those that erase."""
    runs = await harness.engine.list(RunFilter(TENANT, limit=100))
    return [run.id for run in runs if run.operation != "erase-user"]


async def test_all_that_was_done_for_a_person_goes(database: Database, tmp_path: Path) -> None:
    """Ended and open runs, steps and files; the report counts them; others keep theirs."""
    async with house(database, tmp_path) as (harness, files):
        for _ in range(3):
            await harness.submit("works", {"face": SECRET}, user="ann")
        parked = await harness.submit("waits", user="ann")
        bob = await harness.submit("works", user="bob")
        nobody = await harness.submit("waits")
        face = await files.bound(tenant=TENANT, user="ann").put(b"12345", name="ann.png")
        run = await erased(harness, "ann")
        assert await harness.output(run.id) == {
            "subject": pseudonym(run.id, "ann"),
            "canceled": 1,
            "runs": 4,
            "steps": 4,
            "signals": 0,
            "shared_signals": 0,
            "requests": 0,
            "artifacts": 1,
            "bytes": 5,
        }
        assert set(await left(harness)) == {bob.id, nobody.id}
        for gone in (harness.engine.get(parked.id), files.get(face.id)):
            with pytest.raises(NotFound):
                await gone


async def test_nothing_of_the_person_is_left(database: Database, tmp_path: Path) -> None:
    """No row of any table of runs has their id or what they wrote, not even of the erasing run."""
    async with house(database, tmp_path) as (harness, _):
        await harness.submit("works", {"face": SECRET}, user="ann@example.com")
        run = await erased(harness, "ann@example.com")
        dump = await database.read(
            lambda tx: [
                *tx.rows(sql("SELECT * FROM runs")),
                *tx.rows(sql("SELECT * FROM steps")),
                *tx.rows(sql("SELECT * FROM signals")),
            ]
        )
        assert run.id in str(dump)
        assert "ann@example" not in str(dump)
        assert SECRET not in str(dump)
        again = await erased(harness, pseudonym(run.id, "ann@example.com"))
        assert (await harness.output(again.id))["runs"] == 0


async def test_what_runs_is_stopped_first(database: Database, tmp_path: Path) -> None:
    """A step that takes half a minute to stop is waited for, and then its run goes."""
    async with house(database, tmp_path) as (harness, _):
        busy = await harness.submit("cleans", user="ann")
        assert await harness.status(busy.id) == "running"
        erasing = await harness.submit("erase-user", {"user": "ann"})
        await harness.advance(5)
        assert await left(harness) == [busy.id]
        assert not (await harness.engine.get(erasing.id)).done
        ended = await over(harness, erasing.id)
        assert ended.status == "succeeded"
        assert await left(harness) == []
        assert (await harness.output(erasing.id))["canceled"] == 1


async def test_a_crash_is_nothing(database: Database, tmp_path: Path) -> None:
    """Wherever the process dies, the erasure goes on, and in the end nothing is left."""
    for writes in itertools.count(1):
        async with house(database, tmp_path / str(writes)) as (harness, _):
            for _ in range(2):
                await harness.submit("works", {"face": SECRET}, user="ann")
            erasing = await harness.engine.submit("erase-user", {"user": "ann"}, tenant=TENANT)
            for _ in range(writes * 3):
                await asyncio.sleep(0)
            died = not (await harness.engine.get(erasing.id)).done
            await harness.crash()
            ended = await over(harness, erasing.id)
            assert ended.status == "succeeded"
            assert await left(harness) == []
            assert (await harness.output(erasing.id))["subject"] == pseudonym(erasing.id, "ann")
            if not died or writes == 12:
                return


async def test_erasing_runs_do_not_erase_each_other(database: Database, tmp_path: Path) -> None:
    """Also not when somebody asked for them in the name of whom they erase."""
    async with house(database, tmp_path) as (harness, _):
        runs = [await harness.submit("erase-user", {"user": "ann"}, user="ann") for _ in range(2)]
        for run in runs:
            ended = await over(harness, run.id)
            assert (ended.status, ended.user) == ("succeeded", None)


async def test_many_runs_go_in_batches(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are: a step deletes a number of batches, and there are as many steps."""
    monkeypatch.setattr("understudy.operations.erasure._RUNS", 2)
    monkeypatch.setattr("understudy.operations.erasure._BATCHES", 2)
    async with house(database, tmp_path) as (harness, files):
        for number in range(9):
            await harness.submit("works", user="ann")
            await files.bound(tenant=TENANT, user="ann").put(b"%d" % number, name="a")
        run = await erased(harness, "ann")
        said = await harness.output(run.id)
        assert (said["runs"], said["steps"], said["artifacts"]) == (9, 9, 9)
        assert [key for key in await harness.steps(run.id) if key.startswith("runs")] == [
            "runs",
            "runs#2",
            "runs#3",
            "runs#4",
        ]


def test_whom_it_is_about_is_needed() -> None:
    """An empty id is nobody's, and would be everybody's without one."""
    with pytest.raises(ValueError, match="at least 1 character"):
        EraseUser(user="")
