"""What a run shows while it works."""

from __future__ import annotations

import asyncio
from typing import Any

from understudy import Context, operation
from understudy.engine.journal import Journal
from understudy.testing.harness import Answer, Given, Harness


class Counting:
    """A journal that counts what is shown."""

    def __init__(self, journal: Journal) -> None:
        self.shown: list[float] = []
        self._journal = journal

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    def progress(self, claim: Any, progress: Any) -> None:
        self.shown.append(progress["done"])
        self._journal.progress(claim, progress)


async def test_progress_is_shown_twice_a_second_at_most(journal: Journal) -> None:
    """The first word at once, then the newest each half second, the last one always."""
    counting: Any = Counting(journal)
    go = asyncio.Queue[int]()
    gate = asyncio.Event()

    @operation("counted")
    async def counted(ctx: Context, input: Given) -> Answer:
        async def body() -> None:
            while True:
                done = await go.get()
                if done < 0:
                    return
                ctx.progress(done, 9, "halfway")

        await ctx.step("body", body)
        await ctx.step("gate", gate.wait)
        ctx.progress(9, 9)
        return Answer()

    async with Harness([counted], journal=counting) as harness:
        run = await harness.submit("counted")
        for done in (1, 2, 3):
            go.put_nowait(done)
        await harness.settle()
        assert counting.shown == [1]
        await harness.advance(0.5)
        assert counting.shown == [1, 3]
        shown = (await harness.engine.view(run.id)).progress
        assert shown is not None
        assert (shown.done, shown.total, shown.note) == (3, 9, "halfway")
        await harness.advance(5)
        assert counting.shown == [1, 3]
        go.put_nowait(4)
        go.put_nowait(5)
        go.put_nowait(-1)
        await harness.settle()
        assert counting.shown == [1, 3, 4]
        gate.set()
        await harness.settle()
        assert counting.shown == [1, 3, 4, 9]


async def test_a_thread_may_show_progress(journal: Journal) -> None:
    """A plain function in its thread reports as an async one does."""

    @operation("threaded")
    async def threaded(ctx: Context, input: Given) -> Answer:
        def body() -> None:
            ctx.progress(1, 2)
            ctx.progress(2, 2)

        await ctx.step("body", body)
        return Answer()

    async with Harness([threaded], journal=journal) as harness:
        run = await harness.submit("threaded")
        run = await harness.result(run.id)
        assert run.progress == {"done": 2, "total": 2, "note": ""}
