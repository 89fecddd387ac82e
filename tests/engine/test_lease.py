"""A worker's lease: who is silent loses its runs, who lost it begins again, who leaves says so."""

from __future__ import annotations

import asyncio
from typing import Any

from understudy import Context, operation
from understudy.engine.journal import Journal
from understudy.engine.plans.embedded import Limits
from understudy.errors import StorageError
from understudy.testing.harness import Answer, Given, Harness

Journals = tuple[Journal, Journal]

LEASED = Limits(poll_every=1e9, lease=90)


class Work:
    """Two steps; the first stays until it is let go, in each of its goes."""

    def __init__(self) -> None:
        self.goes: list[asyncio.Event] = []
        self.second = 0

    async def first(self) -> int:
        go = asyncio.Event()
        self.goes.append(go)
        number = len(self.goes)
        await go.wait()
        return number

    async def after(self) -> None:
        self.second += 1

    def operation(self) -> Any:
        @operation("work")
        async def work(ctx: Context, input: Given) -> Answer:
            number = await ctx.step("first", self.first)
            await ctx.step("after", self.after)
            return Answer(value=number)

        return work


def pair(journals: Journals, work: Any) -> tuple[Harness, Harness]:
    """Two workers, whose leases are 90 seconds."""
    one = Harness([work], journal=journals[0], limits=LEASED)
    return one, one.beside([work], journal=journals[1])


async def driving(one: Harness, two: Harness) -> tuple[Harness, Harness]:
    """Who drives, and the other."""
    return (one, two) if one.plan.driving else (two, one)


async def test_a_dead_workers_runs_are_adopted(journals: Journals) -> None:
    """As soon as its lease has run out, at a higher epoch; finished steps are kept."""
    work = Work()
    one, two = pair(journals, work.operation())
    async with one, two:
        run = await one.submit("work")
        dead, alive = await driving(one, two)
        await dead.kill()
        await alive.advance(60)
        assert not alive.plan.driving
        assert len(await alive.engine.workers()) == 2
        await alive.advance(30)
        assert alive.plan.driving == (run.id,)
        assert [row.name for row in await alive.engine.workers()] == [alive.plan.worker]
        work.goes[-1].set()
        await alive.settle()
        done = await alive.engine.get(run.id)
        assert (done.status, done.epoch) == ("succeeded", 2)
        assert (len(work.goes), work.second) == (2, 1)


async def test_a_living_workers_runs_are_left_alone(journals: Journals) -> None:
    """However often another one starts or recovers, and however long the step takes."""
    work = Work()
    one, two = pair(journals, work.operation())
    async with one, two:
        run = await one.submit("work")
        _, other = await driving(one, two)
        for _ in range(8):
            await one.advance(30)
            assert await other.journal.recover(now=one.clock.now()) == []
        await other.crash()
        await one.settle()
        work.goes[0].set()
        await one.settle()
        assert await one.output(run.id) == {"value": 1}
        assert len(work.goes) == 1
        assert (await one.engine.get(run.id)).epoch == 1


class CutOff:
    """A journal whose lease cannot be renewed while it is `off`."""

    def __init__(self, journal: Journal) -> None:
        self.off = False
        self._journal = journal

    def beats(self, *args: Any, **kwargs: Any) -> Any:
        beats: Any = self._journal.beats(*args, **kwargs)
        renew = beats.once

        async def once() -> None:
            if self.off:
                raise StorageError("no connection")
            await renew()

        beats.once = once
        return beats

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)


async def test_who_lost_its_lease_begins_again(journals: Journals) -> None:
    """A worker that was cut off for too long writes nothing stale, and takes part anew."""
    work = Work()
    cuts: Any = [CutOff(journal) for journal in journals]
    one, two = pair((cuts[0], cuts[1]), work.operation())
    async with one, two:
        run = await one.submit("work")
        stale, other = await driving(one, two)
        before = stale.plan.worker
        cut = cuts[0 if stale is one else 1]
        cut.off = True
        for _ in range(4):
            await one.advance(30)
        assert other.plan.driving == (run.id,)
        assert len(work.goes) == 2
        work.goes[0].set()
        await one.settle()
        assert await one.steps(run.id) == {}
        cut.off = False
        await one.advance(30)
        assert stale.plan.driving == ()
        assert stale.plan.worker != before
        names = {row.name for row in await one.engine.workers()}
        assert names == {stale.plan.worker, other.plan.worker}
        work.goes[1].set()
        await one.settle()
        assert await one.output(run.id) == {"value": 2}
        assert (await stale.submit("work")).status == "running"


async def test_a_run_under_way_is_dropped_with_the_lease(journals: Journals) -> None:
    """The worker that finds its lease gone ends the bodies that it ran, and takes the run anew."""
    work = Work()
    one = Harness([work.operation()], journal=journals[0], limits=LEASED)
    async with one:
        run = await one.submit("work")
        await one.journal.leave(one.plan.worker)
        await one.journal.recover(now=one.clock.now())
        await one.advance(30)
        assert len(work.goes) == 2
        work.goes[0].set()
        await one.settle()
        assert await one.status(run.id) == "running"
        work.goes[1].set()
        await one.settle()
        assert await one.output(run.id) == {"value": 2}


async def test_a_drain_hands_over_at_once(journals: Journals) -> None:
    """The other worker goes on without any time passing, and the lease is gone."""
    work = Work()
    one, two = pair(journals, work.operation())
    async with one, two:
        run = await one.submit("work")
        leaver, other = await driving(one, two)
        stop = asyncio.create_task(leaver.stop())
        await other.settle()
        work.goes[0].set()
        await stop
        await other.settle()
        done = await other.engine.get(run.id)
        assert (done.status, done.epoch) == ("succeeded", 2)
        assert (len(work.goes), work.second) == (1, 1)
        assert [row.name for row in await other.engine.workers()] == [other.plan.worker]
        await leaver.start()


async def test_workers_are_seen(journals: Journals) -> None:
    """With what they say of themselves, how long their lease is, and how much they drive."""
    work = Work()
    one, two = pair(journals, work.operation())
    async with one, two:
        for _ in range(4):
            one.clock.advance(1)
            await one.submit("work")
        await one.advance(30)
        rows = await two.engine.workers()
        assert {row.name for row in rows} == {one.plan.worker, two.plan.worker}
        assert sum(row.driving for row in rows) == 4
        assert all(row.lease_until == one.clock.now() + 90 for row in rows)
        assert rows[0].info["plan"] == "embedded"


async def test_work_is_shared(journals: Journals) -> None:
    """Of what is due at once, each worker takes its part."""
    work = Work()
    one, two = pair(journals, work.operation())
    async with one, two:
        ids = [(await one.submit("work", delay=10.0)).id for _ in range(20)]
        one.clock.advance(10)
        for _ in range(4):
            await one.advance(0.02)
        shares = sorted([len(one.plan.driving), len(two.plan.driving)])
        assert sum(shares) == len(ids)
        assert shares[0] >= 5
