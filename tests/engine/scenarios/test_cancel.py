"""A run is canceled: wherever it stands, its running steps end and its children go with it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from understudy import Context, Permanent, operation
from understudy.engine.journal import Journal
from understudy.errors import Conflict
from understudy.testing.harness import Answer, Given, Harness


class Body:
    """An async body that waits for ever and says when it was ended."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0

    async def __call__(self) -> None:
        self.begun += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.ended += 1


async def test_a_running_step_is_ended(journal: Journal) -> None:
    """The body is over before the run is canceled; canceling again is no error."""
    body = Body()

    @operation("long")
    async def long(ctx: Context, input: Given) -> Answer:
        await ctx.step("body", body)
        return Answer()

    async with Harness([long], journal=journal) as harness:
        run = await harness.submit("long")
        assert body.begun == 1
        await harness.engine.cancel(run.id)
        assert (await harness.finish(run.id)).status == "canceled"
        assert body.ended == 1
        assert (await harness.engine.cancel(run.id)).status == "canceled"
        assert harness.plan.driving == ()


async def test_a_running_thread_is_ended(journal: Journal) -> None:
    """A plain function in its thread ends, too."""
    begun, ended = threading.Event(), threading.Event()

    def body() -> None:
        begun.set()
        try:
            while not ended.wait(0.001):
                pass
        finally:
            ended.set()

    @operation("long")
    async def long(ctx: Context, input: Given) -> Answer:
        await ctx.step("body", body)
        return Answer()

    async with Harness([long], journal=journal) as harness:
        run = await harness.submit("long")
        await asyncio.to_thread(begun.wait)
        await harness.engine.cancel(run.id)
        assert (await harness.result(run.id)).status == "canceled"
        assert ended.is_set()


async def test_parked_and_queued_runs_are_canceled_at_once(journal: Journal) -> None:
    """Nobody needs to drive them for that, and no time brings them back."""

    @operation("nap")
    async def nap(ctx: Context, input: Given) -> Answer:
        await ctx.sleep(3600)
        return Answer()

    async with Harness([nap], journal=journal) as harness:
        parked = await harness.submit("nap")
        await harness.stop()
        queued = await harness.submit("nap")
        assert queued.status == "queued"
        assert (await harness.engine.cancel(parked.id)).status == "canceled"
        assert (await harness.engine.cancel(queued.id)).status == "canceled"
        await harness.start()
        await harness.advance(9999)
        assert (await harness.engine.get(parked.id)).status == "canceled"
        assert await harness.steps(queued.id) == {}


async def test_children_are_canceled_with_their_parent(journal: Journal) -> None:
    """A child that is being driven ends its step, one that sleeps ends at once."""
    body = Body()

    @operation("busy")
    async def busy(ctx: Context, input: Given) -> Answer:
        await ctx.step("body", body)
        return Answer()

    @operation("nap")
    async def nap(ctx: Context, input: Given) -> Answer:
        await ctx.sleep(3600)
        return Answer()

    @operation("parent")
    async def parent(ctx: Context, input: Given) -> Answer:
        await asyncio.gather(ctx.call("busy", {}), ctx.call("nap", {}))
        return Answer()

    async with Harness([busy, nap, parent], journal=journal) as harness:
        run = await harness.submit("parent")
        await harness.advance(10)
        await harness.engine.cancel(run.id)
        await harness.settle()
        family = await harness.engine.unfinished("tenant")
        assert family == []
        assert (body.begun, body.ended) == (1, 1)


async def test_code_cannot_swallow_a_cancel(journal: Journal) -> None:
    """`except Exception` does not see it, and code that catches everything comes no further."""
    log: list[str] = []

    async def note(what: str) -> None:
        log.append(what)

    @operation("stubborn")
    async def stubborn(ctx: Context, input: Given) -> Answer:
        try:
            await ctx.wait("never")
        except Exception:  # noqa: BLE001
            log.append("swallowed")
        except BaseException:  # noqa: BLE001
            log.append("caught")
        try:
            await ctx.step("after", note, "after")
        except Exception:  # noqa: BLE001
            log.append("swallowed")
        return Answer()

    async with Harness([stubborn], journal=journal) as harness:
        run = await harness.submit("stubborn")
        await harness.engine.cancel(run.id)
        assert (await harness.finish(run.id)).status == "canceled"
    assert log == ["caught"]


async def test_a_cancel_while_it_was_down_is_heeded(journal: Journal) -> None:
    """A run that a dead worker held is canceled by the next one, without running anything."""
    body = Body()

    @operation("long")
    async def long(ctx: Context, input: Given) -> Answer:
        await ctx.step("body", body)
        return Answer()

    async with Harness([long], journal=journal) as harness:
        run = await harness.submit("long")
        harness.engine.detach(harness.plan)
        await harness.plan.kill()
        await journal.leave(harness.plan.worker)
        assert (await harness.engine.cancel(run.id)).status == "running"
        await harness.start()
        assert (await harness.finish(run.id)).status == "canceled"
    assert body.begun == 1


async def test_what_has_ended_is_a_conflict(journal: Journal) -> None:
    """A succeeded run cannot be canceled or resumed."""

    @operation("quick")
    async def quick(ctx: Context, input: Given) -> Answer:
        return Answer()

    async with Harness([quick], journal=journal) as harness:
        run = await harness.run("quick")
        with pytest.raises(Conflict, match="succeeded"):
            await harness.engine.cancel(run.id)
        with pytest.raises(Conflict, match="succeeded"):
            await harness.engine.resume(run.id)


async def test_a_cancel_ends_what_a_failed_branch_left(journal: Journal) -> None:
    """While a failed operation's other branch is finished, a cancel still ends it."""
    body = Body()

    async def broken() -> None:
        raise Permanent("no")

    @operation("torn")
    async def torn(ctx: Context, input: Given) -> Answer:
        await asyncio.gather(ctx.step("body", body), ctx.step("broken", broken))
        return Answer()

    async with Harness([torn], journal=journal) as harness:
        run = await harness.submit("torn")
        assert run.status == "running"
        await harness.engine.cancel(run.id)
        assert (await harness.finish(run.id)).status == "canceled"
        assert (body.begun, body.ended) == (1, 1)
