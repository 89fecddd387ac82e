"""A run that only waits leaves memory, and comes back at its time and not before."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from understudy import Context, operation
from understudy.engine.journal import Journal
from understudy.testing.harness import Answer, Given, Harness


@operation("nap")
async def nap(ctx: Context, input: Given) -> Answer:
    await ctx.sleep(input.model_extra["seconds"])  # type: ignore[index]
    return Answer()


async def test_a_long_sleep_is_a_row(journal: Journal) -> None:
    """Nothing of it is in memory; it says until when; it is woken at its time, without a nudge."""
    async with Harness([nap], journal=journal) as harness:
        run = await harness.submit("nap", {"seconds": 3600})
        assert (run.status, harness.plan.driving) == ("waiting", ())
        assert run.waiting_for is not None
        assert (run.waiting_for["kind"], run.waiting_for["until"]) == (
            "timer",
            harness.clock.now() + 3600,
        )
        await harness.advance(3599.9)
        assert (await harness.engine.get(run.id)).status == "waiting"
        await harness.advance(0.1)
        assert (await harness.engine.get(run.id)).status == "succeeded"


async def test_each_sleeper_wakes_at_its_own_time(journal: Journal) -> None:
    """A shorter sleep that was parked after a longer one is not late."""
    async with Harness([nap], journal=journal) as harness:
        runs = [await harness.submit("nap", {"seconds": s}) for s in (900, 300, 600)]
        for woken in (1, 2, 0):
            await harness.advance(300)
            assert (await harness.engine.get(runs[woken].id)).status == "succeeded"
            ended = [run for run in runs if (await harness.engine.get(run.id)).done]
            assert len(ended) == (1, 2, 0).index(woken) + 1


async def test_a_short_sleep_stays(journal: Journal) -> None:
    """Under two seconds leaving is not worth it."""
    async with Harness([nap], journal=journal) as harness:
        run = await harness.submit("nap", {"seconds": 1.5})
        assert (run.status, harness.plan.driving) == ("running", (run.id,))
        await harness.advance(1.5)
        assert (await harness.engine.get(run.id)).status == "succeeded"


async def test_a_sleep_keeps_its_first_time(journal: Journal) -> None:
    """A crash in the middle does not start the sleep again; nor does looking early."""
    async with Harness([nap], journal=journal) as harness:
        run = await harness.submit("nap", {"seconds": 3600})
        await harness.advance(3000)
        await harness.crash()
        await harness.engine.resume(run.id)
        await harness.settle()
        assert (await harness.engine.get(run.id)).status == "waiting"
        await harness.advance(600)
        assert (await harness.engine.get(run.id)).status == "succeeded"


async def test_sleep_until_takes_a_time(journal: Journal) -> None:
    """An aware datetime or seconds; a time without a zone is refused; the past is no sleep."""

    @operation("until")
    async def until(ctx: Context, input: Given) -> Answer:
        with pytest.raises(ValueError, match="time zone"):
            await ctx.sleep_until(datetime(2027, 1, 1))  # noqa: DTZ001
        await ctx.sleep_until(1.0)
        await ctx.sleep_until(datetime.fromtimestamp(1_800_003_600, UTC))
        await ctx.sleep(timedelta(seconds=1))
        return Answer()

    async with Harness([until], journal=journal) as harness:
        run = await harness.submit("until")
        assert run.wake_at == 1_800_003_600
        assert (await harness.finish(run.id)).status == "succeeded"
        assert list(await harness.steps(run.id)) == ["sleep_until", "sleep_until#2", "sleep"]


async def test_a_step_beside_a_sleep_keeps_the_run(journal: Journal) -> None:
    """Only when nothing works any more does the run leave; the sleep's end is then its wake."""
    free = asyncio.Event()

    @operation("both")
    async def both(ctx: Context, input: Given) -> Answer:
        await asyncio.gather(ctx.sleep(60), ctx.step("work", free.wait))
        return Answer()

    async with Harness([both], journal=journal) as harness:
        run = await harness.submit("both")
        await harness.advance(10)
        assert (await harness.engine.get(run.id)).status == "running"
        free.set()
        await harness.settle()
        assert harness.plan.driving == ()
        assert (await harness.engine.get(run.id)).wake_at == 1_800_000_060
        await harness.advance(50)
        assert (await harness.engine.get(run.id)).status == "succeeded"


async def test_a_branch_far_from_its_call_is_not_forgotten(journal: Journal) -> None:
    """Tasks and gathers between a finished call and the next one do not let the run leave early."""
    log: list[str] = []

    async def note(what: str) -> None:
        log.append(what)

    @operation("deep")
    async def deep(ctx: Context, input: Given) -> Answer:
        async def nested(level: int) -> None:
            if level:
                await asyncio.gather(asyncio.create_task(nested(level - 1)))
            else:
                await ctx.step("inner", note, "inner")

        async def branch() -> None:
            await nested(4)
            await ctx.step("outer", note, "outer")

        await asyncio.gather(ctx.sleep(3600), branch())
        return Answer()

    async with Harness([deep], journal=journal) as harness:
        await harness.submit("deep")
        assert log == ["inner", "outer"]


async def test_a_run_waits_its_turn(journal: Journal) -> None:
    """At most `capacity` runs are in memory; the next one starts when one leaves."""
    from understudy.engine.plans.embedded import Limits

    limits = Limits(capacity=2, batch=2, poll_every=1e12)
    free = asyncio.Event()

    @operation("busy")
    async def busy(ctx: Context, input: Given) -> Answer:
        await ctx.step("work", free.wait)
        return Answer()

    async with Harness([busy], journal=journal, limits=limits) as harness:
        runs = [await harness.submit("busy") for _ in range(5)]
        assert len(harness.plan.driving) == 2
        free.set()
        await harness.settle()
        assert [(await harness.engine.get(run.id)).status for run in runs] == ["succeeded"] * 5
