"""The disk refuses writes: for a moment, for good, in the middle of a step."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from understudy import Context, operation
from understudy.engine.journal import Journal
from understudy.errors import StorageFull
from understudy.testing.harness import Answer, Given, Harness


class Broken:
    """A journal whose methods named in `refusing` fail, so many times each."""

    def __init__(self, journal: Journal, error: type[Exception] = StorageFull) -> None:
        self.refusing: dict[str, int] = {}
        self._journal = journal
        self._error = error

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._journal, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            if self.refusing.get(name, 0) > 0:
                self.refusing[name] -= 1
                raise self._error("the disk is full")
            return await method(*args, **kwargs)

        return call


def one_step(log: list[str]) -> Any:
    async def body() -> str:
        log.append("ran")
        return "result"

    @operation("one")
    async def one(ctx: Context, input: Given) -> Answer:
        try:
            return Answer(value=await ctx.step("body", body))
        except Exception:  # noqa: BLE001 - what a careless author writes
            return Answer(value="swallowed")

    return one


async def test_a_result_outlives_a_full_disk(journal: Journal) -> None:
    """The write is tried again for a while: the body is not run again."""
    log: list[str] = []
    broken: Any = Broken(journal)
    async with Harness([one_step(log)], journal=broken) as harness:
        broken.refusing = {"record": 3, "finish": 2}
        run = await harness.run("one")
        assert run.output == '{"value":"result"}'
    assert log == ["ran"]


async def test_a_worker_that_cannot_write_gives_up(journal: Journal) -> None:
    """It says why; nothing counts as done, nothing is swallowed, the next worker goes on."""
    log: list[str] = []
    broken: Any = Broken(journal)
    async with Harness([one_step(log)], journal=broken) as harness:
        run = await harness.engine.submit("one", {}, tenant="tenant")
        broken.refusing = {"record": 99}
        for _ in range(10):
            await harness.advance(2)
        assert isinstance(harness.plan.failure.result(), StorageFull)
        run = await harness.engine.get(run.id)
        assert (run.status, run.done) == ("running", False)
        broken.refusing = {}
        await harness.crash()
        await harness.finish(run.id)
        assert await harness.output(run.id) == {"value": "result"}
    assert log == ["ran", "ran"]


async def test_a_poke_that_cannot_be_taken_stops_the_worker(journal: Journal) -> None:
    """So does a claim, and whatever else the journal may raise."""

    @operation("wait")
    async def wait(ctx: Context, input: Given) -> Answer:
        return Answer(value=await ctx.wait("reply"))

    for name, error in (("take_poke", StorageFull), ("claim", KeyError), ("changed", ValueError)):
        broken: Any = Broken(journal, error)
        async with Harness([wait], journal=broken) as harness:
            run = await harness.submit("wait")
            broken.refusing = {name: 99}
            if name == "changed":
                harness.clock.advance(1e12)
                await asyncio.sleep(0)
                broken.refusing = {name: 1}
                await harness.plan.failure
            else:
                await harness.engine.cancel(run.id)
                await harness.engine.submit("wait", {}, tenant="tenant")
                await harness.plan.failure
            assert harness.plan.failure.result().code in {"storage", "storage_full"}
            await harness.plan.kill()


async def test_a_fault_of_ours_fails_the_run_and_not_the_worker(journal: Journal) -> None:
    """An unexpected error of one run's end is told as that run's failure."""
    log: list[str] = []
    broken: Any = Broken(journal, RuntimeError)
    async with Harness([one_step(log)], journal=broken) as harness:
        broken.refusing = {"finish": 1}
        run = await harness.run("one")
        assert run.status == "failed"
        assert run.error is not None
        assert run.error["type"] == "RuntimeError"
        assert not harness.plan.failure.done()
        assert (await harness.run("one")).status == "succeeded"
