"""The front door: what a surface sees of a run while it is driven elsewhere."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import BaseModel

from understudy import Context, Permanent, operation
from understudy.engine.journal import Journal
from understudy.engine.run import RunFilter, Scope
from understudy.errors import InvalidInput, NotFound, Unserializable
from understudy.testing.conformance.rows import NOW, claim_all
from understudy.testing.harness import TENANT, Answer, Given, Harness


class Strict(BaseModel):
    """What the input is to be from now on."""

    n: int


@operation("nap")
async def nap(ctx: Context, input: Given) -> Answer:
    await ctx.sleep(60)
    return Answer(value=7)


async def test_a_watcher_sees_every_state(journal: Journal) -> None:
    """The run at once, then at each change, and its end is the end."""
    async with Harness([nap], journal=journal) as harness:
        run = await harness.submit("nap")
        seen: list[str] = []

        async def watch() -> None:
            async for state in harness.engine.watch(run.id):
                seen.append(state.status)  # noqa: PERF401 - looked at meanwhile

        watcher = asyncio.create_task(watch())
        result = asyncio.create_task(harness.engine.result(run.id))
        await harness.advance(1)
        assert seen == ["waiting"]
        await harness.advance(60)
        await harness.advance(1)
        await watcher
        assert seen[-1] == "succeeded"
        done = await result
        assert harness.engine.parse_output(done) == Answer(value=7)


async def test_what_is_wrong_is_refused_before_anything_is_stored(journal: Journal) -> None:
    """Inputs, signals and ids are checked at the door."""
    async with Harness([nap], journal=journal) as harness:
        with pytest.raises(InvalidInput):
            await harness.engine.submit("nap", [1], tenant=TENANT)  # type: ignore[arg-type]
        with pytest.raises(Unserializable):
            await harness.engine.emit("x", object(), tenant=TENANT)
        for ask in (harness.engine.get, harness.engine.retry, harness.engine.resume):
            with pytest.raises(NotFound, match="run_9"):
                await ask("run_9")
        assert await harness.engine.unfinished(TENANT) == []


async def test_an_input_that_no_longer_fits_fails_its_run(journal: Journal) -> None:
    """The operation's input type has changed since the run was accepted."""

    @operation("nap")
    async def changed(ctx: Context, input: Strict) -> Answer:
        return Answer()

    old = Harness([nap], journal=journal)
    run = await old.engine.submit("nap", {}, tenant=TENANT)
    async with Harness([], journal=journal) as harness:
        await harness.crash([changed])
        done = await harness.finish(run.id)
        assert done.error is not None
        assert (done.status, done.error["code"]) == ("failed", "invalid_input")


async def test_a_stale_driver_stops_without_a_word(journal: Journal) -> None:
    """Somebody else recovered the run: what this worker does no longer counts."""
    free = asyncio.Event()

    @operation("slow")
    async def slow(ctx: Context, input: Given) -> Answer:
        await ctx.step("work", free.wait)
        return Answer()

    async with Harness([slow], journal=journal) as harness:
        run = await harness.submit("slow")
        await journal.leave(harness.plan.worker)
        await journal.recover(now=NOW)
        taken = await journal.claim("other", Scope(("slow",)), limit=1, now=NOW)
        assert [claimed.run.id for claimed in taken.runs] == [run.id]
        free.set()
        await harness.settle()
        assert harness.plan.driving == ()
        assert not harness.plan.failure.done()
        after = await harness.engine.get(run.id)
        assert (after.status, after.claim) == ("running", taken.runs[0].claim.token)
        assert await harness.steps(run.id) == {}
        assert await claim_all(journal) == {}


async def test_every_run_that_fits_is_selected(journal: Journal) -> None:
    """Page by page, newest first, none twice."""
    async with Harness([nap], journal=journal) as harness:
        runs = [(await harness.submit("nap", delay=9.0)).id for _ in range(7)]
        wanted = RunFilter(TENANT, limit=3)
        found = [run.id async for run in harness.engine.select(wanted)]
        assert found == sorted(runs, reverse=True)
        nothing = RunFilter(TENANT, status="failed", limit=3)
        assert [run async for run in harness.engine.select(nothing)] == []


async def test_a_queued_run_says_what_it_waits_for(journal: Journal) -> None:
    """Its time, or a worker; a driven one says nothing of the kind."""
    async with Harness([nap], journal=journal) as harness:
        run = await harness.submit("nap", delay=9.0)
        said = (await harness.engine.view(run.id)).waiting_for
        assert said is not None
        assert said.until == "2027-01-15T08:00:09.000Z"
        await harness.stop()
        harness.clock.advance(9)
        said = (await harness.engine.view(run.id)).waiting_for
        assert said is not None
        assert said.kind == "worker"
        await harness.start()
        await harness.settle()
        said = (await harness.engine.view(run.id)).waiting_for
        assert said is not None
        assert said.kind == "timer"


async def test_a_run_of_an_unknown_operation_is_tried_again(journal: Journal) -> None:
    """By whoever knows it: a process that does not may still ask."""

    @operation("gone")
    async def gone(ctx: Context, input: Given) -> Answer:
        raise Permanent("no")

    async with Harness([gone], journal=journal) as harness:
        run = await harness.run("gone")
        await harness.crash([nap])
        assert (await harness.engine.retry(run.id)).status == "queued"
