"""The process dies: what was recorded stays, what was in flight runs again, nothing else does."""

from __future__ import annotations

import asyncio
from typing import Any

from understudy import Context, operation
from understudy.engine.journal import Journal
from understudy.testing.harness import Answer, Given, Harness


class Rig:
    """Steps that write down that they ran; the one named `stuck` never comes back."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.stuck = ""

    async def note(self, what: str) -> str:
        self.log.append(what)
        if what == self.stuck:
            await asyncio.Event().wait()
        return what

    async def nothing(self) -> Any:
        self.log.append("nothing")

    def three(self) -> Any:
        @operation("three")
        async def three(ctx: Context, input: Given) -> Answer:
            said = [await ctx.step(name, self.note, name) for name in ("a", "b", "c")]
            said.append(str(await ctx.step("none", self.nothing)))
            return Answer(value=said)

        return three


async def test_a_step_in_flight_runs_again_and_no_other(journal: Journal) -> None:
    """Killed inside the second step, only that one repeats; the tenure is a new one."""
    rig = Rig()
    rig.stuck = "b"
    async with Harness([rig.three()], journal=journal) as harness:
        run = await harness.submit("three")
        assert (run.status, rig.log) == ("running", ["a", "b"])
        await harness.crash()
        rig.stuck = ""
        await harness.crash()
        done = await harness.finish(run.id)
        assert await harness.output(run.id) == {"value": ["a", "b", "c", "None"]}
    # The worker between the two crashes had no time to claim anything.
    assert rig.log == ["a", "b", "b", "c", "nothing"]
    assert done.epoch == 2
    assert done.attempt == 1


async def test_nothing_runs_again_after_the_last_record(journal: Journal) -> None:
    """Killed between the last step and the end, no step repeats, not even one that gave None."""
    rig = Rig()
    ended = asyncio.Event()

    @operation("late")
    async def late(ctx: Context, input: Given) -> Answer:
        await ctx.step("a", rig.note, "a")
        value = await ctx.step("none", rig.nothing)
        await ended.wait()
        return Answer(value=value)

    async with Harness([late], journal=journal) as harness:
        run = await harness.submit("late")
        await harness.crash()
        ended.set()
        await harness.finish(run.id)
        assert await harness.output(run.id) == {"value": None}
    assert rig.log == ["a", "nothing"]


async def test_a_run_that_nobody_claimed_survives(journal: Journal) -> None:
    """What was accepted before the crash is driven after it."""
    rig = Rig()
    async with Harness([], journal=journal) as nobody:
        stranger = Harness([rig.three()], journal=journal)
        run = await stranger.engine.submit("three", {}, tenant="tenant")
        await nobody.settle()
        assert (await nobody.engine.get(run.id)).status == "queued"
    async with Harness([rig.three()], journal=journal) as harness:
        assert (await harness.finish(run.id)).status == "succeeded"


async def test_many_crashes_end_in_one_result(journal: Journal) -> None:
    """Killed after every single turn of the event loop, the run still ends, once."""
    rig = Rig()
    async with Harness([rig.three()], journal=journal) as harness:
        run = await harness.engine.submit("three", {}, tenant="tenant")
        for turns in range(40):
            for _ in range(turns):
                await asyncio.sleep(0)
            await harness.crash()
        await harness.finish(run.id)
        assert await harness.output(run.id) == {"value": ["a", "b", "c", "None"]}
        recorded = await harness.steps(run.id)
    assert [step.state for step in recorded.values()] == ["succeeded"] * 4
