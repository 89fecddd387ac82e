"""The code no longer asks for what the journal remembers: parked, never guessed past."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from understudy import Context, operation
from understudy.engine.journal import Journal
from understudy.testing.harness import Answer, Given, Harness

Code = Callable[[Context], Awaitable[Any]]

LOG: list[str] = []


async def note(what: str) -> str:
    LOG.append(what)
    return what


def release(code: Code) -> Any:
    @operation("changing")
    async def changing(ctx: Context, input: Given) -> Answer:
        return Answer(value=await code(ctx))

    return changing


async def first_release(ctx: Context) -> str:
    await ctx.step("a", note, "a")
    await ctx.step("b", note, "b")
    await ctx.sleep(3600)
    return await ctx.step("c", note, "c")


async def changed_kind(ctx: Context) -> None:
    await ctx.emit("a")


async def removed(ctx: Context) -> None:
    await ctx.step("b", note, "b")
    await ctx.sleep(3600)
    await ctx.step("c", note, "c")


async def inserted(ctx: Context) -> None:
    await ctx.step("a", note, "a")
    await ctx.step("new", note, "new")
    await ctx.step("b", note, "b")


async def shortened(ctx: Context) -> None:
    await ctx.step("a", note, "a")


async def swallowing(ctx: Context) -> str:
    try:
        await ctx.step("new", note, "new")
    except Exception:  # noqa: BLE001
        await ctx.step("a", note, "a")
    return "went on"


async def swallowing_to_the_end(ctx: Context) -> str:
    with contextlib.suppress(Exception):
        await ctx.map("a", note, "x")
        await ctx.step("new", note, "new")
    return "went on"


async def swallowing_a_kind(ctx: Context) -> str:
    with contextlib.suppress(Exception):
        await ctx.emit("a")
    return "went on"


@pytest.mark.parametrize(
    ("code", "expected", "found"),
    [
        (changed_kind, "step a", "emit a"),
        (removed, "a", "c"),
        (inserted, "b", "new"),
        (shortened, "b", None),
        (swallowing, "a", "new"),
        (swallowing_to_the_end, "a", "a[0]"),
        (swallowing_a_kind, "step a", "emit a"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_a_changed_operation_waits_for_the_operator(
    journal: Journal, code: Code, expected: str, found: str | None
) -> None:
    """The run is parked with what was expected and found; the old code then finishes it."""
    LOG.clear()
    async with Harness([release(first_release)], journal=journal) as harness:
        run = await harness.submit("changing")
        await harness.crash([release(code)])
        await harness.advance(3600)
        run = await harness.engine.get(run.id)
        assert (run.status, run.wake_at, run.done) == ("waiting", None, False)
        assert run.waiting_for is not None
        assert run.waiting_for["kind"] == "operator"
        assert (run.waiting_for["expected"], run.waiting_for["found"]) == (expected, found)
        await harness.advance(99_999)
        assert LOG == ["a", "b"]
        await harness.crash([release(first_release)])
        await harness.engine.resume(run.id)
        await harness.settle()
        assert await harness.output(run.id) == {"value": "c"}
    assert LOG == ["a", "b", "c"]


async def test_a_parked_divergence_can_be_canceled(journal: Journal) -> None:
    """The other way out."""
    async with Harness([release(first_release)], journal=journal) as harness:
        run = await harness.submit("changing")
        await harness.crash([release(inserted)])
        await harness.advance(3600)
        assert (await harness.engine.cancel(run.id)).status == "canceled"


async def test_branches_are_no_divergence(journal: Journal) -> None:
    """A new call beside remembered ones of other branches, deep ones too, is as it should be."""
    free = asyncio.Event()

    async def code(ctx: Context) -> str:
        async def deep(level: int) -> None:
            if level:
                await asyncio.gather(deep(level - 1))
            else:
                await ctx.step("deep", note, "deep")

        branch = asyncio.create_task(deep(5))
        await ctx.step("first", free.wait)
        await branch
        return "done"

    LOG.clear()
    async with Harness([release(code)], journal=journal) as harness:
        run = await harness.submit("changing")
        assert LOG == ["deep"]
        await harness.crash()
        free.set()
        await harness.settle()
        assert await harness.output(run.id) == {"value": "done"}
    assert LOG == ["deep"]
