"""Branches of one operation: gathers, tasks, and what is left behind when the operation ends."""

from __future__ import annotations

import asyncio

from understudy import Context, Permanent, StepFailed, operation
from understudy.engine.journal import Journal
from understudy.testing.harness import Answer, Given, Harness


async def test_keys_do_not_depend_on_who_is_first(journal: Journal) -> None:
    """Two branches that finish in another order after a crash still find their own steps."""
    log: list[str] = []
    gates = {name: asyncio.Event() for name in "ab"}

    async def body(name: str) -> str:
        await gates[name].wait()
        log.append(name)
        return name

    @operation("pair")
    async def pair(ctx: Context, input: Given) -> Answer:
        async def branch(name: str) -> list[str]:
            return [await ctx.step(f"{name}{n}", body, name) for n in (1, 2)]

        return Answer(value=await asyncio.gather(branch("a"), branch("b")))

    async with Harness([pair], journal=journal) as harness:
        run = await harness.submit("pair")
        gates["b"].set()
        await harness.settle()
        await harness.crash()
        gates["a"].set()
        await harness.settle()
        assert await harness.output(run.id) == {"value": [["a", "a"], ["b", "b"]]}
    assert log == ["b", "b", "a", "a"]


async def test_a_failed_operation_finishes_what_it_left_behind(journal: Journal) -> None:
    """`gather` raises at once, but the other step is finished, remembered, and not paid twice."""
    log: list[str] = []
    free = asyncio.Event()
    broken = [Permanent("no")]

    async def paid() -> str:
        log.append("paid")
        await free.wait()
        return "goods"

    async def fragile() -> str:
        if broken:
            raise broken.pop()
        return "fine"

    @operation("torn")
    async def torn(ctx: Context, input: Given) -> Answer:
        return Answer(
            value=await asyncio.gather(ctx.step("paid", paid), ctx.step("fragile", fragile))
        )

    async with Harness([torn], journal=journal) as harness:
        run = await harness.submit("torn")
        assert run.status == "running"
        free.set()
        await harness.settle()
        assert (await harness.engine.get(run.id)).status == "failed"
        assert (await harness.steps(run.id))["paid@1"].state == "succeeded"
        await harness.engine.retry(run.id)
        await harness.settle()
        assert await harness.output(run.id) == {"value": ["goods", "fine"]}
    assert log == ["paid"]


async def test_nothing_begins_after_the_end(journal: Journal) -> None:
    """A task that nobody awaits neither holds the run up nor begins a step when it has ended."""
    log: list[str] = []
    later = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    async def note() -> None:
        log.append("ran")

    @operation("careless")
    async def careless(ctx: Context, input: Given) -> Answer:
        async def naps() -> None:
            await ctx.sleep(3600)
            await ctx.step("after", note)

        async def lingers() -> None:
            await later.wait()
            await ctx.step("late", note)

        tasks.extend(asyncio.create_task(work()) for work in (naps, lingers))
        await ctx.step("own", note)
        return Answer(value="done")

    async with Harness([careless], journal=journal) as harness:
        run = await harness.submit("careless")
        assert run.status == "succeeded"
        later.set()
        await harness.advance(9999)
        assert all(task.done() for task in tasks)
        for task in tasks:
            assert task.cancelled() or task.exception() is not None
    assert log == ["ran"]


async def test_a_parked_run_leaves_no_task_behind(journal: Journal) -> None:
    """A branch that the operation does not await is ended when the run leaves memory."""
    before = asyncio.all_tasks()

    @operation("aside")
    async def aside(ctx: Context, input: Given) -> Answer:
        nap = asyncio.create_task(ctx.sleep(100))
        await ctx.wait("never", timeout=50)
        await nap
        return Answer()

    harness = Harness([aside], journal=journal)
    async with harness:
        run = await harness.submit("aside")
        await harness.advance(5)
        assert (await harness.engine.get(run.id)).status == "waiting"
        extra = [task.get_name() for task in asyncio.all_tasks() - before]
        # The worker's claimer and its poll, with what they wait for.
        assert len(extra) <= 5, extra


async def test_a_step_limited_by_the_author_is_given_up(journal: Journal) -> None:
    """`asyncio.timeout` around a call ends its body; the operation goes on."""
    ended: list[bool] = []

    async def body() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    @operation("hasty")
    async def hasty(ctx: Context, input: Given) -> Answer:
        task = asyncio.create_task(ctx.step("slow", body))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return Answer(value="gave up")
        return Answer()

    async with Harness([hasty], journal=journal) as harness:
        run = await harness.submit("hasty")
        assert await harness.output(run.id) == {"value": "gave up"}
    assert ended == [True]


async def test_a_body_that_cancels_itself_has_failed(journal: Journal) -> None:
    """A cancellation from inside is an error of the step, never an end of the run's driver."""

    async def body() -> None:
        raise asyncio.CancelledError

    @operation("own")
    async def own(ctx: Context, input: Given) -> Answer:
        try:
            await ctx.step("body", body)
        except StepFailed as failure:
            return Answer(value=str(failure))
        return Answer()

    @operation("self")
    async def self_(ctx: Context, input: Given) -> Answer:
        raise asyncio.CancelledError

    async with Harness([own, self_], journal=journal) as harness:
        run = await harness.submit("own")
        assert await harness.output(run.id) == {
            "value": "the step's body was cancelled from inside"
        }
        run = await harness.submit("self")
        assert run.error is not None
        assert run.error["message"] == "the operation cancelled itself"
