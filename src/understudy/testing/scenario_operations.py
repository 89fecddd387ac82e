"""What the scenarios run: operations whose steps do something outside that is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from understudy.engine.consequences import submission_of
from understudy.engine.context import Context
from understudy.engine.cron import Cron
from understudy.engine.flow import Concurrency, Failure, Throttle, Timeout, Trigger
from understudy.engine.operation import Operation, operation
from understudy.engine.retry import Retry
from understudy.engine.run import Run, Submission
from understudy.engine.submission import Asking, new_run
from understudy.errors import Permanent
from understudy.testing.harness import Answer, Given


class World(Protocol):
    """What steps do to the outside."""

    async def effect(self, place: str, seconds: float = 0.0, fails: int = 0) -> Any:
        """Something that must not happen again once its result is remembered."""
        ...


def plain_operations(world: World) -> Iterable[Operation[Any, Any]]:
    """Steps, maps, sleeps, waits and calls."""

    @operation("steps")
    async def steps(ctx: Context, _: Given) -> Answer:
        for name in ("a", "b", "c"):
            await ctx.step(name, world.effect, f"{ctx.run_id}/{name}", 1.0)
        return Answer(value="steps")

    @operation("map", retry=Retry(attempts=3, first=1, factor=8))
    async def map_(ctx: Context, _: Given) -> Answer:
        async def item(number: int) -> Any:
            return await world.effect(f"{ctx.run_id}/{number}", 0.5, fails=number % 3)

        return Answer(value=len(await ctx.map("item", item, range(4), limit=2)))

    @operation("sleeper")
    async def sleeper(ctx: Context, _: Given) -> Answer:
        await ctx.step("before", world.effect, f"{ctx.run_id}/before")
        await ctx.sleep(3600)
        await ctx.step("after", world.effect, f"{ctx.run_id}/after")
        return Answer(value="slept")

    @operation("waiter")
    async def waiter(ctx: Context, _: Given) -> Answer:
        first = await ctx.wait("reply", match={"number": 1})
        await ctx.step("between", world.effect, f"{ctx.run_id}/between", 1.0)
        second = await ctx.wait("reply", match={"number": 2})
        return Answer(value=[first["text"], second["text"]])

    @operation("parent")
    async def parent(ctx: Context, _: Given) -> Answer:
        children = await asyncio.gather(ctx.call("steps", {}), ctx.call("sleeper", {}))
        await ctx.step("after", world.effect, f"{ctx.run_id}/after")
        return Answer(value=[child.value for child in children])

    return steps, map_, sleeper, waiter, parent


def failing_operations(world: World) -> Iterable[Operation[Any, Any]]:
    """A failure, and what follows from it."""

    @operation("fragile", on_failure="mourner")
    async def fragile(ctx: Context, _: Given) -> Answer:
        await ctx.step("good", world.effect, f"{ctx.run_id}/good")
        if ctx.attempt == 1:
            raise Permanent("not yet")
        return Answer(value=ctx.attempt)

    @operation("mourner")
    async def mourner(ctx: Context, given: Failure) -> Answer:
        await ctx.step("mourn", world.effect, f"{ctx.run_id}/mourn")
        return Answer(value=given.error["message"])

    return fragile, mourner


def limited_operations(world: World) -> Iterable[Operation[Any, Any]]:
    """Those that stand in queues of their own."""

    @operation("one-by-one", concurrency=Concurrency(total=2, key="who"))
    async def one_by_one(ctx: Context, _: Given) -> Answer:
        await ctx.step("work", world.effect, f"{ctx.run_id}/work", 10.0)
        return Answer(value="done")

    @operation("spread", throttle=Throttle(limit=1, period=30))
    async def spread(ctx: Context, _: Given) -> Answer:
        await ctx.step("work", world.effect, f"{ctx.run_id}/work")
        return Answer(value="done")

    @operation("hurried", concurrency=Concurrency(total=1), timeout=Timeout(start=5))
    async def hurried(ctx: Context, _: Given) -> Answer:
        await ctx.step("work", world.effect, f"{ctx.run_id}/work", 10.0)
        return Answer(value="done")

    return one_by_one, spread, hurried


def started_operations(world: World) -> Iterable[Operation[Any, Any]]:
    """Those that signals and the clock start."""

    @operation("teller")
    async def teller(ctx: Context, _: Given) -> Answer:
        await ctx.emit("made", {"what": "film"})
        await ctx.step("after", world.effect, f"{ctx.run_id}/after")
        return Answer(value="told")

    @operation("listener", trigger=[Trigger("made", {"what": "film"})])
    async def listener(ctx: Context, _: Given) -> Answer:
        await ctx.step("listen", world.effect, f"{ctx.run_id}/listen")
        return Answer(value="heard")

    @operation("hourly", cron=Cron("0 * * * *", missed="all"))
    async def hourly(ctx: Context, _: Given) -> Answer:
        await ctx.step("tick", world.effect, f"{ctx.run_id}/tick")
        return Answer(value="ticked")

    return teller, listener, hourly


def told_operations(world: World) -> Iterable[Operation[Any, Any]]:
    """What tells of the end of others."""

    @operation("told")
    async def told(ctx: Context, given: Given) -> Answer:
        await ctx.step("tell", world.effect, f"{ctx.run_id}/tell")
        return Answer(value=given.model_dump())

    return (told,)


def telling(world: World) -> Callable[[Run], Submission]:
    """What makes the run that tells a webhook of another one's end."""
    (told,) = told_operations(world)

    def tells(run: Run) -> Submission:
        asking = Asking(run.tenant, idempotency_key=f"told:{run.id}:{run.attempt}")
        said = {"operation": run.operation, "status": run.status}
        return submission_of(told, new_run(told, said, asking, now=run.ended_at or 0.0))

    return tells


ALL = (
    plain_operations,
    failing_operations,
    limited_operations,
    started_operations,
    told_operations,
)
