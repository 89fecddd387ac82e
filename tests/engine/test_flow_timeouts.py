"""Timeouts of whole runs, and the run that follows a failure."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from understudy import Context, Permanent, operation
from understudy.engine.flow import CancelOn, Concurrency, Failure, Timeout
from understudy.engine.journal import Journal
from understudy.engine.run import RunFilter
from understudy.errors import StorageError
from understudy.testing.harness import TENANT, Answer, Given, Harness

Journals = tuple[Journal, Journal]


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


@operation("tell")
async def tell(ctx: Context, input: Failure) -> Answer:
    """What follows a failure: its output is what it was told."""
    return Answer(value=input.model_dump(mode="json"))


async def runs_of(harness: Harness, name: str) -> list[Any]:
    return list(await harness.engine.list(RunFilter(TENANT, operation=name)))


async def test_what_does_not_begin_in_time_fails(journals: Journals) -> None:
    """Held in a full queue or with no worker there; one that has begun is not concerned."""
    body = Body()

    @operation(
        "work", concurrency=Concurrency(total=1), timeout=Timeout(start=30), on_failure="tell"
    )
    async def work(ctx: Context, input: Given) -> Answer:
        await ctx.step("body", body)
        return Answer()

    async with (
        Harness([work, tell], journal=journals[0]) as one,
        one.beside([work, tell], journal=journals[1]) as two,
    ):
        first, held = await one.submit("work"), await one.submit("work", {"n": 2})
        later = await two.submit("work", delay=20.0)
        await one.advance(29)
        assert [await one.status(run.id) for run in (held, later)] == ["queued"] * 2
        await one.advance(1)
        failed = await one.engine.get(held.id)
        assert failed.error is not None
        assert (failed.status, failed.error["code"], failed.error["category"]) == (
            "failed",
            "run_timeout",
            "timeout",
        )
        assert "was not begun before" in failed.error["message"]
        assert [await one.status(run.id) for run in (first, later)] == ["running", "queued"]
        await one.advance(20)
        assert await one.status(later.id) == "failed"
        told = [json.loads(run.output)["value"] for run in await runs_of(one, "tell")]
        assert sorted(one["run_id"] for one in told) == sorted([held.id, later.id])


async def test_a_working_run_is_ended_at_its_time(journals: Journals) -> None:
    """Its step is stopped, its children go with it, and it has failed."""
    body = Body()

    @operation("child")
    async def child(ctx: Context, input: Given) -> Answer:
        await ctx.step("body", body)
        return Answer()

    @operation("work", timeout=Timeout(finish=60))
    async def work(ctx: Context, input: Given) -> Answer:
        await asyncio.gather(ctx.call("child", {}), ctx.step("body", body))
        return Answer()

    async with (
        Harness([work, child], journal=journals[0]) as one,
        one.beside([work, child], journal=journals[1]),
    ):
        run = await one.submit("work", delay=100.0)
        await one.advance(100)
        await one.advance(59)
        assert (body.begun, body.ended) == (2, 0)
        await one.advance(1)
        done = await one.engine.get(run.id)
        assert done.error is not None
        assert (done.status, done.error["code"]) == ("failed", "run_timeout")
        assert "did not end before" in done.error["message"]
        assert body.ended == 2
        (of_it,) = await runs_of(one, "child")
        assert of_it.status == "canceled"


async def test_a_parked_run_fails_at_its_time(journals: Journals) -> None:
    """Nobody drives it; its waits close, its children go, its parent hears of it."""

    @operation("grandchild")
    async def grandchild(ctx: Context, input: Given) -> Answer:
        await ctx.wait("never")
        return Answer()

    @operation("child", timeout=Timeout(finish=600))
    async def child(ctx: Context, input: Given) -> Answer:
        await ctx.call("grandchild", {})
        return Answer()

    @operation("work")
    async def work(ctx: Context, input: Given) -> Answer:
        await ctx.call("child", {})
        return Answer()

    operations: list[Any] = [work, child, grandchild]
    async with Harness(operations, journal=journals[0]) as one:
        run = await one.submit("work")
        await one.advance(10)
        assert one.plan.driving == ()
        await one.advance(590)
        done = await one.engine.get(run.id)
        assert done.error is not None
        assert (done.status, done.error["code"]) == ("failed", "step_failed")
        assert done.error["category"] == "timeout"
        assert (await runs_of(one, "child"))[0].status == "failed"
        assert (await runs_of(one, "grandchild"))[0].status == "canceled"
        assert await one.engine.unfinished(TENANT) == []


async def test_a_deadline_outlives_crashes_and_begins_anew_with_a_retry(
    journals: Journals,
) -> None:
    """It is set once, at the first start; a retry of the run has the whole time again."""
    body = Body()

    @operation("work", timeout=Timeout(finish=60))
    async def work(ctx: Context, input: Given) -> Answer:
        await ctx.step("body", body)
        return Answer()

    async with Harness([work], journal=journals[0]) as one:
        run = await one.submit("work")
        for _ in range(2):
            await one.advance(25)
            await one.crash()
        await one.advance(9)
        assert await one.status(run.id) == "running"
        await one.advance(1)
        assert await one.status(run.id) == "failed"
        await one.engine.retry(run.id)
        await one.advance(59)
        assert await one.status(run.id) == "running"
        await one.advance(1)
        assert await one.status(run.id) == "failed"


async def test_a_deadline_that_passed_while_it_was_down_counts(journals: Journals) -> None:
    """The next worker fails the run and begins nothing."""
    body = Body()

    @operation("work", timeout=Timeout(finish=60))
    async def work(ctx: Context, input: Given) -> Answer:
        await ctx.step("body", body)
        return Answer()

    async with Harness([work], journal=journals[0]) as one:
        run = await one.submit("work")
        await one.kill()
        await journals[0].leave(one.plan.worker)
        one.clock.advance(100)
        await one.start()
        await one.settle()
        assert await one.status(run.id) == "failed"
    assert body.begun == 1


async def test_a_failure_is_followed_once_for_each_try(journals: Journals) -> None:
    """Not by a retry of a step or a success; the follower is told what failed, and for whom."""
    tries: list[int] = []

    @operation("work", on_failure=tell)
    async def work(ctx: Context, input: Given) -> Answer:
        tries.append(ctx.attempt)
        if ctx.attempt < 3:
            raise Permanent("no paint")
        return Answer()

    async with Harness([work, tell], journal=journals[0]) as one:
        run = await one.submit("work", {"n": 1}, user="ann")
        (follower,) = await runs_of(one, "tell")
        assert (follower.user, follower.status, follower.parent_id) == ("ann", "succeeded", None)
        told = (await one.output(follower.id))["value"]
        assert told.pop("error")["message"] == "no paint"
        assert told == {
            "run_id": run.id,
            "operation": "work",
            "user": "ann",
            "input": {"n": 1},
            "attempt": 1,
        }
        for expected in (2, 2):
            await one.engine.retry(run.id)
            await one.settle()
            assert len(await runs_of(one, "tell")) == expected
        assert await one.status(run.id) == "succeeded"
    assert tries == [1, 2, 3]


class Forgetful:
    """A journal whose answer to one `finish` is lost: the change is made, the caller sees none."""

    def __init__(self, journal: Journal) -> None:
        self.lost = 0
        self._journal = journal

    async def finish(self, *args: Any, **kwargs: Any) -> list[str]:
        woken = await self._journal.finish(*args, **kwargs)
        if not self.lost:
            self.lost += 1
            raise StorageError("the connection was lost")
        return woken

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)


async def test_a_failure_is_followed_once_whatever_is_lost(journals: Journals) -> None:
    """The end and what follows it are one change, so that a lost answer repeats neither."""

    @operation("work", on_failure="tell")
    async def work(ctx: Context, input: Given) -> Answer:
        raise Permanent("no paint")

    journal: Any = Forgetful(journals[0])
    async with Harness([work, tell], journal=journal) as one:
        run = await one.run("work")
        await one.advance(60)
        await one.crash()
        await one.advance(60)
        assert journal.lost == 1
        assert run.status == "failed"
        assert [found.status for found in await runs_of(one, "tell")] == ["succeeded"]


async def test_the_follower_of_an_operation_that_is_gone(journals: Journals) -> None:
    """A run whose operation this process does not know fails alone when its time is over."""

    @operation("work", timeout=Timeout(start=30), on_failure="tell")
    async def work(ctx: Context, input: Given) -> Answer:
        return Answer()

    writer = Harness([work, tell], journal=journals[0])
    run = await writer.engine.submit("work", {}, tenant=TENANT)
    async with Harness([tell], journal=journals[1]) as one:
        await one.advance(31)
        assert await one.status(run.id) == "failed"
        assert await runs_of(one, "tell") == []


async def test_a_signal_cancels_the_runs_that_it_matches(journals: Journals) -> None:
    """Driven, parked, queued; not those of other orders, nor those that come later."""
    body = Body()

    @operation("ship", cancel_on=[CancelOn("order.gone", match={"id": "order.id"})])
    async def ship(ctx: Context, input: Given) -> Answer:
        how = (input.model_extra or {})["how"]
        if how == "drive":
            await ctx.step("body", body)
        await ctx.wait("never")
        return Answer()

    async with (
        Harness([ship], journal=journals[0]) as one,
        one.beside([ship], journal=journals[1]) as two,
    ):
        given = {"order": {"id": 7}}
        driven = await one.submit("ship", {**given, "how": "drive"})
        parked = await two.submit("ship", {**given, "how": "wait"})
        await one.advance(5)
        queued = await one.submit("ship", {**given, "how": "wait"}, delay=60.0)
        other = await one.submit("ship", {"order": {"id": 8}, "how": "wait"})
        unset = await one.submit("ship", {"order": {}, "how": "wait"})
        assert await one.status(parked.id) == "waiting"
        assert await two.emit("order.gone", {"id": 7}) >= 1
        for run in (driven, parked, queued):
            assert await one.status(run.id) == "canceled"
        late = await one.submit("ship", {**given, "how": "wait"})
        for run in (other, unset, late):
            assert not (await one.engine.get(run.id)).done
        assert (body.begun, body.ended) == (1, 1)
        assert await one.emit("order.gone", {"id": 9}) == 0


async def test_a_run_that_is_tried_again_can_be_canceled_again(journals: Journals) -> None:
    """A retry wants to hear of the signals that the first try heard of."""

    @operation("ship", cancel_on=[CancelOn("gone", match="id")])
    async def ship(ctx: Context, input: Given) -> Answer:
        if ctx.attempt == 1:
            raise Permanent("no")
        await ctx.wait("never")
        return Answer()

    async with Harness([ship], journal=journals[0]) as one:
        run = await one.submit("ship", {"id": 7})
        assert await one.status(run.id) == "failed"
        assert await one.emit("gone", {"id": 7}) == 0
        await one.engine.retry(run.id)
        await one.settle()
        assert await one.emit("gone", {"id": 7}) >= 1
        assert await one.status(run.id) == "canceled"
