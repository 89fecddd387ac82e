"""A worker that was paused begins no step before it has looked whether its lease is still held."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from understudy import Context, operation
from understudy.clock import ManualClock
from understudy.db.database import Database
from understudy.engine.journals.database import DatabaseJournal
from understudy.engine.lease import Lease
from understudy.engine.plans.embedded import Limits
from understudy.errors import StorageError
from understudy.testing.harness import Answer, Given, Harness

SECONDS = 9.0


class Refusing(DatabaseJournal):
    """A journal whose renewals wait for `let`, and then raise `error` if there is one."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.let = asyncio.Event()
        self.let.set()
        self.error: Exception | None = None

    def beats(self, worker: str, *, lease: float, every: float) -> Any:
        beats: Any = super().beats(worker, lease=lease, every=every)
        once = beats.once

        async def later() -> None:
            await self.let.wait()
            if self.error is not None:
                raise self.error
            await once()

        beats.once = later
        return beats


async def turns() -> None:
    """Let everybody do what they can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_lease_is_sure_for_its_length_after_a_renewal_began() -> None:
    """Then nobody is told that it is held until the next renewal, also when one fails between."""
    clock, journal = ManualClock(), Refusing(Database.in_memory())
    lease = Lease(journal, clock, SECONDS, dict)
    await lease.begin()
    await turns()
    assert lease.held() is None
    journal.let.clear()
    clock.advance(SECONDS)
    waits = lease.held()
    assert waits is not None
    held = asyncio.ensure_future(waits)
    await turns()
    assert not held.done()
    journal.error = StorageError("the disk is full")
    journal.let.set()
    await turns()
    assert not held.done()
    journal.error = None
    clock.advance(SECONDS / 3)
    await turns()
    assert held.done()
    await lease.end()


async def test_a_lost_lease_is_told_once_and_held_by_nobody() -> None:
    """Not even if a renewal that was on its way says so again."""
    clock, journal = ManualClock(), Refusing(Database.in_memory())
    lease = Lease(journal, clock, SECONDS, dict)
    lost: list[str] = []
    lease.lost = lambda: lost.append(lease.name)
    await lease.begin()
    first = lease.name
    await journal.leave(first)
    for _ in range(3):
        clock.advance(SECONDS / 3)
        await turns()
    assert (lost, lease.gone) == ([first], True)
    waits = lease.held()
    assert waits is not None
    held = asyncio.ensure_future(waits)
    await turns()
    assert not held.done()
    await lease.drop()
    await lease.begin()
    await turns()
    assert held.done()
    assert not lease.gone
    assert lease.name != first
    await lease.end()


@pytest.mark.parametrize("taken", [False, True])
async def test_no_step_begins_while_the_lease_is_in_doubt(*, taken: bool) -> None:
    """Paused for longer than its lease, the next step waits; if the run was taken, for ever."""
    journal = Refusing(Database.in_memory())
    log: list[str] = []

    def body(name: str) -> Callable[[], Any]:
        async def work() -> None:
            log.append(name)
            await harness.clock.sleep(5)

        return work

    @operation("two")
    async def two(ctx: Context, input: Given) -> Answer:
        await ctx.step("a", body("a"))
        await ctx.step("b", body("b"))
        return Answer()

    limits = Limits(poll_every=1e9, lease=SECONDS)
    harness = Harness([two], journal=journal, limits=limits)
    async with harness:
        run = await harness.submit("two")
        journal.let.clear()
        harness.clock.advance(100)
        await turns()
        assert log == ["a"]
        assert [step.key for step in await journal.steps(run.id)] == ["a"]
        if taken:
            await journal.leave(harness.plan.worker)
            assert await journal.recover(now=harness.clock.now()) == [run.id]
        journal.let.set()
        assert (await harness.finish(run.id)).status == "succeeded"
        assert (await harness.engine.get(run.id)).epoch >= int(taken)
    assert log == ["a", "b"]
