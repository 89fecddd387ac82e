"""One process after another: a scenario is played until a failpoint ends it, then begun anew."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any, cast

from understudy.db.database import Database
from understudy.db.driver import Driver
from understudy.engine.journal import Journal
from understudy.engine.journals.database import DatabaseJournal
from understudy.engine.plans.embedded import Limits
from understudy.testing.failpoints import (
    Action,
    Failpoints,
    failing_driver,
    failing_journal,
    failing_operations,
)
from understudy.testing.harness import Harness
from understudy.testing.scenarios import ALL_RUNS, Person, Scenario, World

Armed = tuple[str, int, Action]
"""A failpoint, at which of its passes, and what happens there."""

Ends = Counter[tuple[str, str, str | None]]
"""How many runs of an operation ended in a state, with an output."""

LEASE = 1e6
_NOBODY_ELSE = 1e9


async def live(
    world: World, driver: Driver, scenario: Scenario, *armed: Armed, lease: float = LEASE
) -> Failpoints:
    """One process, from its start to the end of the scenario, or to its death.

    Raises what the person of the scenario is told, such as `StorageError`.
    """
    points = Failpoints(_Slow(world), block=lambda _: None)
    for point, nth, action in armed:
        points.arm(point, action, nth=nth)
    async with await Database.of(failing_driver(driver, points)) as database:
        plain = DatabaseJournal(database, world.tells())
        journal = cast("Journal", _Settling(failing_journal(plain, points), plain))
        limits = Limits(poll_every=_NOBODY_ELSE, lease=lease)
        harness = Harness(
            failing_operations(world.operations(), points), journal=journal, limits=limits
        )
        world.enter(harness.clock)
        person = Person(world, harness)
        life = asyncio.create_task(_play(person, scenario, points))
        ends = (life, *map(asyncio.create_task, (points.crashed.wait(), person.gave_up.wait())))
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        died, ended = points.dead, life.done()
        for task in ends:
            task.cancel()
            await asyncio.wait({task})
        await harness.plan.kill()
        if ended and not died:
            life.result()
        elif not died:
            raise harness.plan.failure.result()
    return points


async def ends(world: World, driver: Driver) -> Ends:
    """How all runs ended.

    Raises AssertionError if one is lost or unfinished, or if a step's body ran again after its
    result was stored.
    """
    found: Ends = Counter()
    async with await Database.of(driver) as database:
        journal = DatabaseJournal(database)
        runs = await journal.list(ALL_RUNS)
        assert world.accepted <= {run.id for run in runs}, "an accepted run is lost"
        for run in runs:
            assert run.done, f"{run} does not end"
            found[run.operation, run.status, run.output] += 1
            for step in await journal.steps(run.id):
                if step.kind == "step" and step.state == "succeeded":
                    done = json.loads(step.result or "null")
                    times = world.executions[done["place"]]
                    assert times == done["execution"], f"{done['place']} ran again: {times}"
    return found


async def _play(person: Person, scenario: Scenario, points: Failpoints) -> None:
    harness = person.harness
    for worker in await harness.journal.workers():
        await harness.journal.leave(worker.name)  # as if its lease had run out
    points.passes.clear()
    await person.start()
    await scenario(person)
    await person.all_done()
    await person.stop()


class _Slow:
    """While a call is delayed, time passes for everybody: the harness waits for every call."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> float:
        return self._world.now()

    async def sleep(self, seconds: float) -> None:
        self._world.advance(seconds)
        await asyncio.sleep(0)


class _Settling:
    """The harness's own look whether all is quiet passes no point."""

    def __init__(self, failing: Journal, plain: Journal) -> None:
        self._failing = failing
        self._plain = plain

    def __getattr__(self, name: str) -> Any:
        return getattr(self._failing, name)

    async def wake(self, run_id: str, *, now: float) -> None:
        await (self._failing if run_id else self._plain).wake(run_id, now=now)
