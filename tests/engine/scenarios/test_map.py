"""Steps side by side: order, limit, failure, retries, crashes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from understudy import Context, Permanent, Retry, Transient, operation
from understudy.engine.journal import Journal
from understudy.testing.harness import Answer, Given, Harness


class Work:
    """Items wait for their gate; counts how often and how many at once."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.gates: dict[int, asyncio.Event] = {}
        self.errors: dict[int, list[Exception]] = {}
        self.now = 0
        self.most = 0

    async def __call__(self, item: int) -> int:
        self.begun.append(item)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.gates.setdefault(item, asyncio.Event()).wait()
            if self.errors.get(item):
                raise self.errors[item].pop(0)
            return item * 10
        finally:
            self.now -= 1

    def free(self, *items: int) -> None:
        for item in items:
            self.gates.setdefault(item, asyncio.Event()).set()

    def mapping(self, count: int, limit: int | None = None) -> Any:
        @operation("mapping", retry=Retry(attempts=2))
        async def mapping(ctx: Context, input: Given) -> Answer:
            return Answer(value=await ctx.map("item", self, range(count), limit=limit))

        return mapping


async def test_results_come_in_order_within_the_limit(journal: Journal) -> None:
    """Whichever ends first, results are in the order of the items; never more than `limit` work."""
    work = Work()
    async with Harness([work.mapping(6, limit=3)], journal=journal) as harness:
        run = await harness.submit("mapping")
        assert work.begun == [0, 1, 2]
        work.free(2, 1)
        await harness.settle()
        assert work.begun == [0, 1, 2, 3, 4]
        work.free(0, 3, 4, 5)
        await harness.settle()
        assert await harness.output(run.id) == {"value": [0, 10, 20, 30, 40, 50]}
        run = await harness.engine.get(run.id)
        assert run.progress == {"done": 6, "total": 6, "note": "item"}
        assert list(await harness.steps(run.id)) == [f"item[{n}]" for n in range(6)]
    assert work.most == 3


async def test_a_crash_repeats_only_what_was_in_flight(journal: Journal) -> None:
    """Finished items are not begun again."""
    work = Work()
    async with Harness([work.mapping(4)], journal=journal) as harness:
        run = await harness.submit("mapping")
        work.free(1, 3)
        await harness.settle()
        await harness.crash()
        work.free(0, 2)
        await harness.settle()
        assert await harness.output(run.id) == {"value": [0, 10, 20, 30]}
    assert sorted(work.begun) == [0, 0, 1, 2, 2, 3]


async def test_a_failure_keeps_what_runs_and_begins_nothing(journal: Journal) -> None:
    """Items in flight are finished and remembered, the rest never begins; a retry goes on."""
    work = Work()
    work.errors[1] = [Permanent("no")]
    work.free(1)
    async with Harness([work.mapping(5, limit=2)], journal=journal) as harness:
        run = await harness.submit("mapping")
        assert (run.status, work.begun) == ("running", [0, 1])
        work.free(0)
        await harness.settle()
        run = await harness.engine.get(run.id)
        assert run.status == "failed"
        assert run.error is not None
        assert (run.error["step"], run.error["message"]) == ("item[1]", "no")
        states = {key: step.state for key, step in (await harness.steps(run.id)).items()}
        assert states == {"item[0]": "succeeded", "item[1]": "failed"}
        await harness.engine.retry(run.id)
        work.free(2, 3, 4)
        await harness.settle()
        assert await harness.output(run.id) == {"value": [0, 10, 20, 30, 40]}
        assert (await harness.engine.get(run.id)).attempt == 2
    assert work.begun == [0, 1, 1, 2, 3, 4]


async def test_the_first_failed_item_is_named(journal: Journal) -> None:
    """An earlier item's failure goes before a later one's, whichever came first."""
    work = Work()
    work.errors = {0: [Permanent("zero")], 1: [Permanent("one")]}
    work.free(1)
    async with Harness([work.mapping(2)], journal=journal) as harness:
        run = await harness.submit("mapping")
        work.free(0)
        await harness.settle()
        error = (await harness.engine.get(run.id)).error
    assert error is not None
    assert error["step"] == "item[0]"


async def test_a_pausing_item_does_not_hold_up_a_failure(journal: Journal) -> None:
    """Neither an item that pauses before its next attempt, nor one that is about to."""
    work = Work()
    slow = Transient("busy", retry_after=3600)
    work.errors = {0: [slow], 1: [Permanent("no")], 2: [slow]}
    work.free(0)
    async with Harness([work.mapping(3)], journal=journal) as harness:
        run = await harness.submit("mapping")
        work.free(1)
        await harness.settle()
        assert (await harness.engine.get(run.id)).status == "running"
        work.free(2)
        await harness.settle()
        run = await harness.engine.get(run.id)
        assert run.status == "failed"
        assert run.error is not None
        assert run.error["step"] == "item[1]"
        steps = await harness.steps(run.id)
        assert [step.state for step in steps.values()] == ["retry", "failed", "retry"]


async def test_only_the_pausing_branch_waits(journal: Journal) -> None:
    """One item backs off for an hour: the others finish, then the run leaves until it is due."""
    work = Work()
    work.errors = {1: [Transient("busy", retry_after=3600)]}
    work.free(0, 1, 2)
    async with Harness([work.mapping(3)], journal=journal) as harness:
        run = await harness.submit("mapping")
        assert (run.status, run.wake_at) == ("waiting", 1_800_003_600.0)
        states = [step.state for step in (await harness.steps(run.id)).values()]
        assert states == ["succeeded", "retry", "succeeded"]
        await harness.advance(3600)
        assert await harness.output(run.id) == {"value": [0, 10, 20]}
    assert work.begun == [0, 1, 2, 1]


async def test_an_empty_map_is_empty(journal: Journal) -> None:
    """No items, no steps."""
    async with Harness([Work().mapping(0)], journal=journal) as harness:
        run = await harness.run("mapping")
        assert run.output == '{"value":[]}'


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_limit_lets_something_through(journal: Journal, limit: int) -> None:
    """A limit below one could never end; it is refused."""
    async with Harness([Work().mapping(2, limit=limit)], journal=journal) as harness:
        run = await harness.run("mapping")
        assert run.error is not None
        assert "limit must be at least 1" in run.error["message"]


async def test_a_cancel_ends_every_item(journal: Journal) -> None:
    """Bodies in flight are ended, waiting ones never begin."""
    work = Work()
    async with Harness([work.mapping(5, limit=2)], journal=journal) as harness:
        run = await harness.submit("mapping")
        await harness.engine.cancel(run.id)
        assert (await harness.finish(run.id)).status == "canceled"
        assert (work.begun, work.now) == ([0, 1], 0)
