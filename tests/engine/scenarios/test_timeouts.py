"""A step's body runs past its timeout: it is really ended before anything else happens."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from understudy import Context, Retry, operation
from understudy.engine.journal import Journal
from understudy.testing.harness import Answer, Given, Harness


def slow(body: Any, *, attempts: int = 1) -> Any:
    @operation("slow")
    async def run(ctx: Context, input: Given) -> Answer:
        retry = Retry(attempts=attempts, first=0)
        return Answer(value=await ctx.step("slow", body, timeout=5, retry=retry))

    return run


async def test_an_async_body_is_ended(journal: Journal) -> None:
    """It is cancelled and awaited; the failure is a timeout and is tried again."""
    log: list[str] = []

    async def body() -> int:
        log.append("begin")
        try:
            if len(log) < 3:
                await asyncio.Event().wait()
            return 7
        finally:
            log.append("end")

    async with Harness([slow(body, attempts=2)], journal=journal) as harness:
        run = await harness.submit("slow")
        await harness.advance(4.9)
        assert log == ["begin"]
        await harness.advance(0.1)
        assert log == ["begin", "end", "begin", "end"]
        assert await harness.output(run.id) == {"value": 7}
        assert (await harness.steps(run.id))["slow"].attempt == 2


async def test_a_body_in_a_thread_is_ended(journal: Journal) -> None:
    """The thread gets an exception at its next instruction; the step fails as a timeout."""
    begun, ended = threading.Event(), threading.Event()

    def body() -> None:
        begun.set()
        try:
            while not ended.wait(0.001):
                pass
        finally:
            ended.set()

    async with Harness([slow(body)], journal=journal) as harness:
        run = await harness.submit("slow")
        await asyncio.to_thread(begun.wait)
        harness.clock.advance(5)
        done = await harness.result(run.id)
        assert ended.is_set()
        assert done.error is not None
        assert (done.error["type"], done.error["category"]) == ("StepTimeout", "timeout")
        assert "5 s" in done.error["message"]


async def test_a_body_in_time_is_left_alone(journal: Journal) -> None:
    """A result in time counts, and its alarm is forgotten."""

    async def body() -> int:
        return 7

    async with Harness([slow(body)], journal=journal) as harness:
        run = await harness.run("slow")
        assert run.output == '{"value":7}'
