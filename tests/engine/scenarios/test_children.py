"""Operations that call operations."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import BaseModel

from understudy import Context, Permanent, StepFailed, operation
from understudy.engine.journal import Journal
from understudy.engine.run import RunFilter
from understudy.testing.harness import Answer, Given, Harness


class Number(BaseModel):
    n: int


@operation("double")
async def double(ctx: Context, input: Number) -> Number:
    await ctx.sleep(60)
    return Number(n=input.n * 2)


@operation("broken")
async def broken(ctx: Context, input: Given) -> Answer:
    raise Permanent("no paint", category="vendor")


def parent(code: Any) -> Any:
    @operation("parent")
    async def run(ctx: Context, input: Given) -> Answer:
        return Answer(value=await code(ctx))

    return run


async def test_a_child_answers_with_its_type(journal: Journal) -> None:
    """By operation the output comes as its model, by name too; a crash starts no second child."""

    async def code(ctx: Context) -> list[int]:
        one = await ctx.call(double, Number(n=1))
        two = await ctx.call("double", {"n": 2})
        return [one.n, two.n]

    async with Harness([double, parent(code)], journal=journal) as harness:
        run = await harness.submit("parent")
        await harness.advance(3)
        assert (await harness.engine.get(run.id)).waiting_for["kind"] == "run"  # type: ignore[index]
        await harness.crash()
        await harness.advance(60)
        await harness.advance(3)
        await harness.crash()
        await harness.advance(60)
        assert await harness.output(run.id) == {"value": [2, 4]}
        family = await harness.journal.list(RunFilter("tenant"))
        assert {(child.operation, child.root_id, child.parent_key) for child in family} == {
            ("parent", run.id, None),
            ("double", run.id, "double"),
            ("double", run.id, "double#2"),
        }
        assert len(family) == 3


async def test_a_childs_failure_is_the_calls(journal: Journal) -> None:
    """It names the child's run and keeps its category; the code may go on."""

    async def code(ctx: Context) -> str:
        try:
            await ctx.call("broken", {})
        except StepFailed as failure:
            return f"{failure.step} {failure.category} {failure}"
        return ""

    async with Harness([broken, parent(code)], journal=journal) as harness:
        run = await harness.submit("parent")
        value = (await harness.output(run.id))["value"]
    assert value.startswith("broken vendor broken (run_")
    assert value.endswith("): no paint")


async def test_a_canceled_child_fails_the_call(journal: Journal) -> None:
    """The parent hears of it, and a retry of the parent runs the child again."""

    async def code(ctx: Context) -> int:
        return (await ctx.call(double, Number(n=1))).n

    async with Harness([double, parent(code)], journal=journal) as harness:
        run = await harness.submit("parent")
        child = await harness.journal.child_of(run.id, "double")
        assert child is not None
        await harness.engine.cancel(child.id)
        run = await harness.finish(run.id)
        assert run.status == "failed"
        assert run.error is not None
        assert (run.error["type"], run.error["step"]) == ("Canceled", "double")
        await harness.engine.retry(run.id)
        await harness.finish(run.id)
        assert await harness.output(run.id) == {"value": 2}
        again = await harness.journal.child_of(run.id, "double")
        assert again is not None
        assert (again.id, again.attempt) == (child.id, 2)


async def test_children_beside_each_other(journal: Journal) -> None:
    """Ten at once end in their own time, and the parent gets all."""

    async def code(ctx: Context) -> list[int]:
        calls = (ctx.call(double, Number(n=n)) for n in range(10))
        return [number.n for number in await asyncio.gather(*calls)]

    async with Harness([double, parent(code)], journal=journal) as harness:
        run = await harness.submit("parent")
        await harness.finish(run.id)
        assert await harness.output(run.id) == {"value": [2 * n for n in range(10)]}


async def test_a_bad_input_starts_no_child(journal: Journal) -> None:
    """The caller hears which field is wrong, and nothing is stored."""

    async def code(ctx: Context) -> None:
        await ctx.call("double", {"n": "many"})

    async with Harness([double, parent(code)], journal=journal) as harness:
        run = await harness.submit("parent")
        assert run.error is not None
        assert (run.error["code"], run.status) == ("invalid_input", "failed")
        assert await harness.steps(run.id) == {}
