"""What is past its time goes, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from understudy import Context, Permanent, operation
from understudy.accounts.tenants import Days, Tenants
from understudy.artifacts.artifacts import Artifacts
from understudy.artifacts.stores.disk import Disk
from understudy.clock import ManualClock
from understudy.db.database import Database
from understudy.engine.journals.database import DatabaseJournal
from understudy.engine.run import RunFilter
from understudy.operations.retention import Ages, Keeper, retention
from understudy.testing.harness import TENANT, Answer, Given, Harness

_DAY = 86_400.0


@operation("works")
async def works(ctx: Context, input: Given) -> Answer:
    """Takes one step."""
    return Answer(value=await ctx.step("one", int))


@operation("fails")
async def fails(ctx: Context, input: Given) -> Answer:
    """Takes none."""
    raise Permanent("no")


@operation("waits")
async def waits(ctx: Context, input: Given) -> Answer:
    """Is open for ever."""
    return Answer(value=await ctx.wait("never"))


@asynccontextmanager
async def kept(home: Path, days: float, own: Days | None = None) -> AsyncIterator[Harness]:
    """A worker with an ended run of each kind and an open one, so many days later.

    With `own`, that is what their tenant has set.
    """
    async with Database.in_memory() as database:
        journal, clock = DatabaseJournal(database), ManualClock()
        artifacts = Artifacts(
            database=database,
            store=Disk(home / "artifacts", clock),
            tmp=home / "tmp",
            clock=clock,
            lifetime=_DAY,
            result_lifetime=_DAY,
            tenant=TENANT,
        )
        tenants = Tenants(database, clock)
        if own is not None:
            await tenants.set(TENANT, own)
        keeper = Keeper(journal, artifacts, clock, Ages(days=90, failed_days=180), tenants)
        async with Harness(
            [works, fails, waits, retention], journal=journal, provided={Keeper: keeper}
        ) as harness:
            for name in ("works", "fails"):
                await harness.run(name)
            await harness.submit("waits")
            await harness.engine.emit("never mind", tenant=TENANT)
            clock.advance(days * _DAY)
            yield harness


async def left(harness: Harness) -> set[str]:
    """The operations of the runs that are still there, without the retention itself."""
    runs = await harness.engine.list(RunFilter(TENANT, limit=100))
    return {run.operation for run in runs} - {"retention"}


async def test_what_is_young_stays(tmp_path: Path) -> None:
    """Before their time nothing goes."""
    async with kept(tmp_path, days=89) as harness:
        run = await harness.run("retention")
        assert await harness.output(run.id) == {"files": 0, "rows": 0}
        assert await left(harness) == {"works", "fails", "waits"}


async def test_failed_runs_are_kept_longer(tmp_path: Path) -> None:
    """After 90 days what succeeded goes with its steps; an open run stays, however old."""
    async with kept(tmp_path, days=91) as harness:
        run = await harness.run("retention")
        assert (await harness.output(run.id))["rows"] == 1
        assert await left(harness) == {"fails", "waits"}


async def test_all_that_ended_goes_one_day(tmp_path: Path) -> None:
    """After 180 days failed runs go, too; a signal stays while an open run could still use it."""
    async with kept(tmp_path, days=181) as harness:
        await harness.result((await harness.submit("retention")).id)
        assert await left(harness) == {"waits"}


async def test_a_tenant_keeps_its_runs_as_long_as_it_has_set(tmp_path: Path) -> None:
    """Its own time counts, longer or shorter; what it has not set is as for all."""
    async with kept(tmp_path, days=91, own=Days(runs=92)) as harness:
        await harness.run("retention")
        assert await left(harness) == {"works", "fails", "waits"}
    async with kept(tmp_path, days=11, own=Days(failed_runs=10)) as harness:
        await harness.run("retention")
        assert await left(harness) == {"works", "waits"}
    async with kept(tmp_path, days=181, own=Days(runs=200)) as harness:
        await harness.run("retention")
        assert await left(harness) == {"works", "waits"}


async def test_a_time_for_files_changes_nothing_for_runs(tmp_path: Path) -> None:
    """A tenant that has set only that has the installation's time for its runs."""
    async with kept(tmp_path, days=91, own=Days(results=500)) as harness:
        await harness.run("retention")
        assert await left(harness) == {"fails", "waits"}


async def test_it_starts_by_the_clock() -> None:
    """Every hour, and one at a time."""
    assert retention.cron is not None
    assert retention.cron.next_after(0) == 17 * 60
    assert retention.concurrency is not None
    assert retention.concurrency.total == 1
