"""Which runs a worker takes on."""

from __future__ import annotations

from typing import Any

import pytest

from understudy import Context, operation
from understudy.engine.journal import Journal
from understudy.engine.registry import Registry
from understudy.engine.run import Scope
from understudy.errors import UnknownOperation
from understudy.testing.harness import TENANT, Answer, Given, Harness


class Brush:
    """What an operation may need."""


@operation("known")
async def known(ctx: Context, input: Given) -> Answer:
    return Answer(value=ctx.user)


@operation("foreign")
async def foreign(ctx: Context, input: Given) -> Answer:
    return Answer(value=ctx.run_id)


async def test_an_unknown_operation_stays_queued(journal: Journal) -> None:
    """Its run waits for a worker that knows it, and harms nobody meanwhile."""
    async with Harness([known], journal=journal) as harness:
        stranger = Harness([foreign], journal=journal)
        run = await stranger.engine.submit("foreign", {}, tenant=TENANT)
        assert (await harness.run("known")).status == "succeeded"
        await harness.advance(99_999)
        assert (await harness.engine.get(run.id)).status == "queued"
        await harness.crash([known, foreign])
        await harness.settle()
        assert await harness.output(run.id) == {"value": run.id}
        with pytest.raises(UnknownOperation, match="known"):
            await harness.engine.submit("nowhere", {}, tenant=TENANT)


async def test_only_one_run_and_what_is_new(journal: Journal) -> None:
    """With a root, what was left unfinished before stays so; the user reaches the operation."""
    async with Harness([known], journal=journal) as setup:
        await setup.stop()
        old = await setup.submit("known")
        wanted = await setup.engine.submit("known", {}, tenant=TENANT, user="ann")
        scope = Scope(("known",), root=wanted.id, since=setup.clock.now() + 1)
        async with Harness([known], journal=journal, scope=scope) as harness:
            harness.clock.advance(2)
            new = await harness.submit("known")
            assert await harness.output(wanted.id) == {"value": "ann"}
            assert (await harness.engine.get(new.id)).status == "succeeded"
            assert (await harness.engine.get(old.id)).status == "queued"
            assert [run.id for run in await harness.engine.unfinished(TENANT)] == [old.id]


async def test_another_process_is_noticed(journal: Journal) -> None:
    """What came through another connection is seen at the next poll: runs, signals, cancels."""
    from understudy.engine.plans.embedded import Limits

    @operation("wait")
    async def wait(ctx: Context, input: Given) -> Answer:
        return Answer(value=await ctx.wait("reply"))

    class Elsewhere:
        """As if somebody else had written before each poll."""

        def __getattr__(self, name: str) -> Any:
            return getattr(journal, name)

        async def changed(self) -> bool:
            return True

    elsewhere: Any = Elsewhere()
    limits = Limits(poll_every=0.5)
    async with Harness([wait], journal=elsewhere, limits=limits) as harness:
        outside = Harness([wait], journal=journal)
        answered = await outside.engine.submit("wait", {}, tenant=TENANT)
        canceled = await outside.engine.submit("wait", {}, tenant=TENANT)
        await harness.advance(0.5)
        assert set(harness.plan.driving) == {answered.id, canceled.id}
        await outside.engine.cancel(canceled.id)
        await harness.advance(0.5)
        assert (await harness.engine.get(canceled.id)).status == "canceled"
        await outside.engine.emit("reply", 7, tenant=TENANT)
        await harness.advance(0.5)
        assert await harness.output(answered.id) == {"value": 7}


async def test_a_need_is_met_for_each_run(journal: Journal) -> None:
    """Keyword-only parameters get what is provided for their type."""

    @operation("paint")
    async def paint(ctx: Context, input: Given, *, brush: Brush) -> Answer:
        return Answer(value=type(brush).__name__)

    brush = Brush()
    async with Harness([paint], journal=journal, provided={Brush: brush}) as harness:
        run = await harness.submit("paint")
        assert await harness.output(run.id) == {"value": "Brush"}
        assert isinstance(harness.registry, Registry)
