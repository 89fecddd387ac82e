"""Runs that wait for a signal: early, late, never, twice, over crashes."""

from __future__ import annotations

import asyncio
from typing import Any

from understudy import Context, WaitTimeout, operation
from understudy.engine.journal import Journal
from understudy.testing.harness import TENANT, Answer, Given, Harness


@operation("ask")
async def ask(ctx: Context, input: Given) -> Answer:
    try:
        return Answer(value=await ctx.wait("reply", match={"to": "ann"}, timeout=600))
    except WaitTimeout as error:
        return Answer(value=f"timeout: {error}")


@operation("tell")
async def tell(ctx: Context, input: Given) -> Answer:
    await ctx.emit("reply", {"to": "ann", "n": 1})
    await ctx.sleep(60)
    return Answer()


async def emit(harness: Harness, data: Any, name: str = "reply") -> int:
    woken = await harness.engine.emit(name, data, tenant=TENANT)
    await harness.settle()
    return woken


async def test_a_signal_wakes_a_parked_run(journal: Journal) -> None:
    """The run stays a moment, leaves memory, says what it waits for, and comes back."""
    async with Harness([ask], journal=journal) as harness:
        run = await harness.submit("ask")
        assert run.status == "running"
        await harness.advance(2)
        run = await harness.engine.get(run.id)
        assert (run.status, harness.plan.driving) == ("waiting", ())
        assert run.waiting_for == {
            "kind": "signal",
            "text": "the signal 'reply', to = \"ann\"",
            "until": 1_800_000_600.0,
        }
        assert await emit(harness, {"to": "bob"}) == 0
        assert (await harness.engine.get(run.id)).status != "succeeded"
        assert await emit(harness, {"to": "ann", "n": 2}) == 1
        assert await harness.output(run.id) == {"value": {"to": "ann", "n": 2}}
        assert await emit(harness, {"to": "ann"}) == 0


async def test_a_signal_in_the_first_moment_needs_no_parking(journal: Journal) -> None:
    """A run that is still in memory takes its signal there."""
    async with Harness([ask], journal=journal) as harness:
        run = await harness.submit("ask")
        await harness.advance(1)
        await emit(harness, {"to": "ann"})
        done = await harness.engine.get(run.id)
        assert (done.status, done.epoch) == ("succeeded", 1)


async def test_an_early_signal_counts(journal: Journal) -> None:
    """What came between the asking and the wait is not lost, not even over a crash."""
    free = asyncio.Event()

    @operation("late")
    async def late(ctx: Context, input: Given) -> Answer:
        await ctx.step("work", free.wait)
        return Answer(value=await ctx.wait("reply"))

    async with Harness([late], journal=journal) as harness:
        run = await harness.submit("late")
        await emit(harness, "early")
        await harness.crash()
        free.set()
        await harness.settle()
        assert await harness.output(run.id) == {"value": "early"}


async def test_a_wait_times_out(journal: Journal) -> None:
    """At its time, not before; the code may go on, and a replay says the same."""
    async with Harness([ask], journal=journal) as harness:
        run = await harness.submit("ask")
        await harness.advance(599)
        assert not (await harness.engine.get(run.id)).done
        await harness.advance(1)
        value = (await harness.output(run.id))["value"]
        assert value == "timeout: no matching signal 'reply' came before 2027-01-15T08:10:00.000Z"


async def test_a_signal_before_the_timeout_wins_though_nobody_was_there(journal: Journal) -> None:
    """The worker was down from before the signal until after the due time."""
    async with Harness([ask], journal=journal) as harness:
        run = await harness.submit("ask")
        await harness.advance(10)
        await harness.stop()
        harness.clock.advance(500)
        await emit(harness, {"to": "ann", "n": 3})
        harness.clock.advance(500)
        await emit(harness, {"to": "ann", "n": 4})
        await harness.start()
        await harness.settle()
        assert await harness.output(run.id) == {"value": {"to": "ann", "n": 3}}


async def test_each_wait_takes_a_signal_of_its_own(journal: Journal) -> None:
    """Waits in a row and side by side never share one."""

    @operation("three")
    async def three(ctx: Context, input: Given) -> Answer:
        first = await ctx.wait("reply")
        both = await asyncio.gather(ctx.wait("reply"), ctx.wait("reply"))
        return Answer(value=[first, *both])

    async with Harness([three], journal=journal) as harness:
        run = await harness.submit("three")
        for number in (1, 2, 3):
            await harness.advance(5)
            await harness.crash()
            await emit(harness, number)
        await harness.settle()
        assert sorted((await harness.output(run.id))["value"]) == [1, 2, 3]


async def test_an_emit_is_sent_once_over_crashes(journal: Journal) -> None:
    """Two runs that wait get one signal from the operation, however often it is replayed."""
    async with Harness([ask, tell], journal=journal) as harness:
        first = await harness.submit("ask")
        sender = await harness.submit("tell")
        await harness.settle()
        assert (await harness.engine.get(first.id)).status == "succeeded"
        second = await harness.submit("ask")
        for _ in range(3):
            await harness.crash()
            await harness.settle()
        await harness.advance(60)
        assert (await harness.engine.get(sender.id)).status == "succeeded"
        await harness.advance(600)
        # The second one saw the only signal there was: none was sent again for a third.
        third = await harness.submit("ask")
        await harness.finish(third.id)
        assert (await harness.output(second.id))["value"] == {"to": "ann", "n": 1}
        assert "timeout" in (await harness.output(third.id))["value"]
