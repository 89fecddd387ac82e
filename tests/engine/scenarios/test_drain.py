"""The worker shuts down: what works is finished, what waits is handed back, nothing begins."""

from __future__ import annotations

import asyncio
from typing import Any

from understudy import Context, operation
from understudy.engine.journal import Journal
from understudy.testing.harness import Answer, Given, Harness


class Rig:
    """Steps that wait for their gate and write down that they began and ended."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.free = asyncio.Event()

    async def work(self, name: str) -> str:
        self.log.append(name)
        try:
            await self.free.wait()
        finally:
            self.log.append(f"/{name}")
        return name


async def stopping(harness: Harness) -> asyncio.Task[None]:
    """The worker while it drains, as far as it comes by itself."""
    task = asyncio.create_task(harness.stop())
    await harness.settle()
    return task


def two_steps(rig: Rig) -> Any:
    @operation("two")
    async def two(ctx: Context, input: Given) -> Answer:
        await ctx.step("a", rig.work, "a")
        await ctx.step("b", rig.work, "b")
        return Answer(value="done")

    return two


async def test_what_runs_is_finished_and_the_rest_handed_back(journal: Journal) -> None:
    """The step in flight is remembered, the next one begins with the next worker."""
    rig = Rig()
    async with Harness([two_steps(rig)], journal=journal) as harness:
        run = await harness.submit("two")
        stop = await stopping(harness)
        assert not stop.done()
        rig.free.set()
        await stop
        assert rig.log == ["a", "/a"]
        run = await harness.engine.get(run.id)
        assert (run.status, run.epoch, run.claim) == ("queued", 2, None)
        await harness.start()
        await harness.finish(run.id)
    assert rig.log == ["a", "/a", "b", "/b"]


async def test_what_does_not_finish_in_time_is_ended(journal: Journal) -> None:
    """After the drain's seconds the body is ended, and runs again with the next worker."""
    rig = Rig()
    async with Harness([two_steps(rig)], journal=journal) as harness:
        run = await harness.submit("two")
        stop = await stopping(harness)
        await harness.advance(10)
        await stop
        assert rig.log == ["a", "/a"]
        assert (await harness.engine.get(run.id)).status == "queued"
        assert await harness.steps(run.id) == {}
        rig.free.set()
        await harness.start()
        assert (await harness.finish(run.id)).status == "succeeded"


async def test_what_waits_is_handed_back_at_once(journal: Journal) -> None:
    """A wait in its first moment, a branch that sleeps beside a finished one: no time is lost."""
    rig = Rig()

    @operation("wait")
    async def wait(ctx: Context, input: Given) -> Answer:
        return Answer(value=await ctx.wait("reply"))

    @operation("both")
    async def both(ctx: Context, input: Given) -> Answer:
        await asyncio.gather(ctx.sleep(3600), ctx.step("a", rig.work, "a"))
        return Answer()

    async with Harness([wait, both], journal=journal) as harness:
        runs = [await harness.submit(name) for name in ("wait", "both")]
        stop = await stopping(harness)
        assert not stop.done()
        rig.free.set()
        await stop
        assert [(await harness.engine.get(run.id)).status for run in runs] == ["queued"] * 2
        assert (await harness.steps(runs[1].id))["a@2"].state == "succeeded"


async def test_a_run_on_its_last_line_still_ends(journal: Journal) -> None:
    """If the step in flight was the last, the run is finished and not handed back."""
    rig = Rig()

    @operation("one")
    async def one(ctx: Context, input: Given) -> Answer:
        return Answer(value=await ctx.step("a", rig.work, "a"))

    async with Harness([one], journal=journal) as harness:
        run = await harness.submit("one")
        stop = await stopping(harness)
        rig.free.set()
        await stop
        assert await harness.output(run.id) == {"value": "a"}


async def test_a_map_stops_between_items(journal: Journal) -> None:
    """Items in flight are finished, waiting ones are left to the next worker."""
    rig = Rig()

    @operation("many")
    async def many(ctx: Context, input: Given) -> Answer:
        return Answer(value=await ctx.map("item", rig.work, ["a", "b", "c"], limit=1))

    async with Harness([many], journal=journal) as harness:
        run = await harness.submit("many")
        stop = await stopping(harness)
        rig.free.set()
        await stop
        assert rig.log == ["a", "/a"]
        await harness.start()
        await harness.finish(run.id)
        assert await harness.output(run.id) == {"value": ["a", "b", "c"]}
    assert rig.log == ["a", "/a", "b", "/b", "c", "/c"]


async def test_a_claim_on_its_way_is_handed_back(journal: Journal) -> None:
    """A run that is being claimed when the worker stops does not stay claimed."""
    rig = Rig()
    async with Harness([two_steps(rig)], journal=journal) as harness:
        run = await harness.engine.submit("two", {}, tenant="tenant")
        # The claim is under way: the worker was nudged but has had no answer yet.
        for _ in range(3):
            await asyncio.sleep(0)
        stop = await stopping(harness)
        await harness.advance(10)
        await stop
        assert (await harness.engine.get(run.id)).status == "queued"
    assert [line for line in rig.log if line == "b"] == []


async def test_a_cancel_during_the_drain_is_not_lost(journal: Journal) -> None:
    """The next worker cancels what was asked to be canceled while this one was leaving."""
    rig = Rig()
    async with Harness([two_steps(rig)], journal=journal) as harness:
        run = await harness.submit("two")
        stop = await stopping(harness)
        await harness.engine.cancel(run.id)
        rig.free.set()
        await stop
        await harness.start()
        assert (await harness.finish(run.id)).status == "canceled"
    assert rig.log == ["a", "/a"]
