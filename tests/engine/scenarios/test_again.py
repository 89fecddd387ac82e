"""A failed run is tried again by its owner: finished steps are kept, the failure is not."""

from __future__ import annotations

import asyncio

import pytest

from understudy import Context, Permanent, StepFailed, WaitTimeout, operation
from understudy.engine.journal import Journal
from understudy.errors import Conflict
from understudy.testing.harness import TENANT, Answer, Given, Harness


class Rig:
    """Steps that write down that they ran; those in `broken` fail."""

    def __init__(self, *broken: str) -> None:
        self.log: list[str] = []
        self.broken = set(broken)

    async def do(self, what: str) -> str:
        self.log.append(what)
        await asyncio.sleep(0)
        if what in self.broken:
            raise Permanent(f"{what} is broken")
        return what


async def test_a_retry_goes_on_where_it_failed(journal: Journal) -> None:
    """Only the failed step runs again, and the run says that it is its second attempt."""
    rig = Rig("b")
    attempts: list[int] = []

    @operation("abc")
    async def abc(ctx: Context, input: Given) -> Answer:
        attempts.append(ctx.attempt)
        return Answer(value=[await ctx.step(name, rig.do, name) for name in "abc"])

    async with Harness([abc], journal=journal) as harness:
        run = await harness.submit("abc")
        assert run.status == "failed"
        rig.broken.clear()
        await harness.engine.retry(run.id)
        await harness.settle()
        assert await harness.output(run.id) == {"value": ["a", "b", "c"]}
        with pytest.raises(Conflict):
            await harness.engine.retry(run.id)
    assert rig.log == ["a", "b", "b", "c"]
    assert attempts == [1, 2]


async def test_what_followed_from_the_failure_is_forgotten(journal: Journal) -> None:
    """A refund that was made because of the failure is no part of the second attempt."""
    rig = Rig("draw")

    @operation("shop")
    async def shop(ctx: Context, input: Given) -> Answer:
        await ctx.step("charge", rig.do, "charge")
        try:
            await ctx.step("draw", rig.do, "draw")
        except StepFailed:
            harness.clock.advance(1)
            await ctx.step("refund", rig.do, "refund")
            raise
        await ctx.step("deliver", rig.do, "deliver")
        return Answer()

    async with Harness([shop], journal=journal) as harness:
        run = await harness.submit("shop")
        assert run.status == "failed"
        rig.broken.clear()
        await harness.engine.retry(run.id)
        await harness.settle()
        assert list(await harness.steps(run.id)) == ["charge", "draw", "deliver"]
    assert rig.log == ["charge", "draw", "refund", "draw", "deliver"]


async def test_a_wait_that_timed_out_is_waited_for_again(journal: Journal) -> None:
    """The second attempt waits anew instead of repeating the timeout."""

    @operation("ask")
    async def ask(ctx: Context, input: Given) -> Answer:
        return Answer(value=await ctx.wait("reply", timeout=60))

    async with Harness([ask], journal=journal) as harness:
        run = await harness.run("ask")
        assert run.error is not None
        assert (run.error["code"], run.error["step"]) == ("wait_timeout", "reply")
        await harness.engine.retry(run.id)
        await harness.settle()
        await harness.engine.emit("reply", 7, tenant=TENANT)
        await harness.settle()
        assert await harness.output(run.id) == {"value": 7}


async def test_a_failure_of_the_code_itself(journal: Journal) -> None:
    """Nothing is forgotten; with the code repaired the run goes on."""
    rig = Rig()
    fault = [ValueError("bug")]

    @operation("buggy")
    async def buggy(ctx: Context, input: Given) -> Answer:
        await ctx.step("a", rig.do, "a")
        if fault:
            raise fault.pop()
        return Answer(value="fine")

    async with Harness([buggy], journal=journal) as harness:
        run = await harness.submit("buggy")
        assert run.error is not None
        assert (run.error["type"], run.error["step"]) == ("ValueError", None)
        await harness.engine.retry(run.id)
        await harness.settle()
        assert await harness.output(run.id) == {"value": "fine"}
    assert rig.log == ["a"]


async def test_a_canceled_run_is_tried_again(journal: Journal) -> None:
    """It goes on from its finished steps."""
    rig = Rig()

    @operation("nap")
    async def nap(ctx: Context, input: Given) -> Answer:
        await ctx.step("a", rig.do, "a")
        try:
            await ctx.wait("never", timeout=60)
        except WaitTimeout:
            return Answer(value="timeout")
        return Answer()

    async with Harness([nap], journal=journal) as harness:
        run = await harness.submit("nap")
        await harness.advance(5)
        await harness.engine.cancel(run.id)
        await harness.engine.retry(run.id)
        await harness.advance(60)
        assert await harness.output(run.id) == {"value": "timeout"}
    assert rig.log == ["a"]
