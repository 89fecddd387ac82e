"""Two workers, a movable clock, and whatever may happen to both: no limit is ever exceeded."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from understudy import Context, operation
from understudy.clock import ManualClock
from understudy.db.database import Database
from understudy.db.postgres import PostgreSQL
from understudy.engine.cron import Cron, due_slots
from understudy.engine.flow import Concurrency, Throttle
from understudy.engine.journal import Journal
from understudy.engine.plans.embedded import Limits
from understudy.engine.run import RunFilter
from understudy.testing.harness import TENANT, Answer, Given, Harness
from understudy.testing.peers import peers

_ACTIONS = 40
_LEASED = Limits(poll_every=1e9, lease=500)
"""Longer than any jump of the clock: who is stopped for longer than its lease still has bodies
running when others take its runs, until it hears of that."""


class World:
    """Random limits, and all that ran under them."""

    def __init__(self, dice: random.Random, now: Callable[[], float]) -> None:
        self.total = dice.randint(1, 4)
        self.each = dice.randint(1, 2)
        limit, period = dice.randint(1, 5), dice.choice((5, 20, 60))
        self.throttle = Throttle(limit, period, "who" if dice.random() < 0.5 else None)
        self.throttle = Throttle(limit, period, self.throttle.key, dice.randint(1, 3))
        self.cron = Cron("*/2 * * * *", missed="all")
        self.inside: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.starts: dict[str, tuple[str, float]] = {}
        self._dice = dice
        self._now = now

    def operations(self, sleep: Callable[[float], Any]) -> list[Any]:
        async def work(run_id: str, who: str) -> None:
            self.starts.setdefault(run_id, (who, self._now()))
            self.inside.update(["all", who])
            for key in ("all", who):
                self.most[key] = max(self.most[key], self.inside[key])
            try:
                await sleep(self._dice.choice((0, 1, 7, 40)))
            finally:
                self.inside.subtract(["all", who])

        @operation(
            "paint",
            concurrency=Concurrency(total=self.total, key="who", each=self.each),
            throttle=self.throttle,
        )
        async def paint(ctx: Context, input: Given) -> Answer:
            given = input.model_extra or {}
            await ctx.step("work", work, ctx.run_id, given["who"])
            if given["naps"]:
                await ctx.sleep(15)
                await ctx.step("more", work, ctx.run_id, given["who"])
            return Answer()

        @operation("report", cron=self.cron)
        async def report(ctx: Context, input: Given) -> Answer:
            return Answer()

        return [paint, report]

    def check_places(self) -> None:
        """Never were more inside than may be: of all, of one key."""
        assert self.most.pop("all", 0) <= self.total
        assert max(self.most.values(), default=0) <= self.each

    def check_starts(self) -> None:
        """In each window as long as the period are no more than the limit and the burst."""
        by_key: dict[str, list[float]] = {}
        for who, at in self.starts.values():
            by_key.setdefault(who if self.throttle.key else "", []).append(at)
        most = self.throttle.limit + self.throttle.burst - 1
        for times in map(sorted, by_key.values()):
            for first, after in zip(times, times[most:], strict=False):
                assert after - first >= self.throttle.interval * self.throttle.limit - 1e-6, (
                    times,
                    self.throttle,
                )


class Round:
    """One history."""

    def __init__(self, seed: int, journals: list[Journal]) -> None:
        self._dice = random.Random(seed)
        clock = ManualClock()
        self.begun = clock.now()
        self.world = World(self._dice, clock.now)
        operations = self.world.operations(clock.sleep)
        self.one = Harness(operations, journal=journals[0], limits=_LEASED, clock=clock)
        self.two = self.one.beside(operations, journal=journals[1])
        self.done: Counter[str] = Counter()
        self._runs: list[str] = []

    async def history(self) -> None:
        """Random actions, then time for everything to end; then nothing may be left."""
        async with self.one, self.two:
            for _ in range(_ACTIONS):
                await self._act()
            for _ in range(1500):
                await self.one.advance(10)
                if not await self._open():
                    break
            assert await self._open() == []
            await self._check_slots()
        self.done["as many at once as may be"] += self.world.most["all"] == self.world.total
        self.world.check_places()
        self.world.check_starts()

    async def _open(self) -> list[str]:
        """The runs that have not ended, but for the clock's own."""
        return [run.id for run in await self.one.engine.unfinished(TENANT)]

    async def _act(self) -> None:
        worker = self._dice.choice((self.one, self.two))
        action = self._dice.choices(
            ("submit", "advance", "crash", "drain", "cancel", "resume"), (8, 8, 1, 1, 1, 1)
        )[0]
        self.done[action] += 1
        if action == "submit":
            for _ in range(self._dice.randint(1, 4)):
                given = {"who": self._dice.choice("abc"), "naps": self._dice.random() < 0.3}
                self._runs.append((await worker.submit("paint", given)).id)
        elif action == "advance":
            await worker.advance(self._dice.choice((0.3, 1, 4.7, 12, 31, 130)))
        elif action == "crash":
            await worker.crash()
        elif action == "drain":
            stop = asyncio.create_task(worker.stop())
            await worker.advance(self._dice.choice((1, 11)))
            await worker.advance(11)
            await stop
            await worker.start()
        elif self._runs:
            run = await worker.engine.get(self._dice.choice(self._runs))
            if not run.done:
                act = worker.engine.cancel if action == "cancel" else worker.engine.resume
                await act(run.id)
        await worker.settle()

    async def _check_slots(self) -> None:
        """Each slot since the beginning has one run, whoever was there to see it."""
        wanted = RunFilter(TENANT, operation="report", limit=10_000)
        slots = [run.idempotency_key for run in await self.one.engine.list(wanted)]
        assert len(slots) == len(set(slots))
        now = self.one.clock.now()
        assert len(slots) == len(due_slots(self.world.cron, self.begun, now))
        self.done["slots"] += len(slots)


async def _histories(databases: list[Database], seeds: range) -> Counter[str]:
    told: Counter[str] = Counter()
    for seed in seeds:
        pair = databases or [Database.in_memory()] * 2
        story = Round(seed, peers(pair))
        try:
            await story.history()
        except BaseException:
            print(f"seed {seed}")  # noqa: T201
            raise
        told.update(story.done)
        told["runs"] += len(story.world.starts)
    return told


@pytest.mark.prove
async def test_no_limit_is_exceeded(rounds: Callable[[int, int], int]) -> None:
    """Concurrency by total and key, throttle and cron over two workers, in random histories."""
    count = rounds(1000, 5)
    told = await _histories([], range(count))
    print(f"{count} histories on SQLite in memory: {dict(told)}")  # noqa: T201
    assert told["as many at once as may be"] > count // 2


@pytest.mark.prove
def test_no_limit_is_exceeded_on_postgresql(
    rounds: Callable[[int, int], int], postgres: Any
) -> None:
    """The same over two connections to a server, each history in a database of its own."""
    count = rounds(40, 1)
    told: Counter[str] = Counter()

    async def history(url: str, seed: int) -> Counter[str]:
        async with (
            await Database.of(PostgreSQL(url, own_clock=False)) as one,
            await Database.of(PostgreSQL(url, own_clock=False)) as two,
        ):
            return await _histories([one, two], range(seed, seed + 1))

    for seed in range(count):
        url = postgres.create(f"limits_{seed}")
        told.update(asyncio.run(history(url, seed)))
        postgres.drop(f"limits_{seed}")
    print(f"{count} histories on PostgreSQL: {dict(told)}")  # noqa: T201
