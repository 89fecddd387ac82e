"""Throttle and delay: when runs start, over two workers, downtimes and late claims."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from understudy import Context, operation
from understudy.engine.flow import Throttle
from understudy.engine.journal import Journal
from understudy.engine.retry import Retry
from understudy.testing.harness import Answer, Given, Harness

Journals = tuple[Journal, Journal]
Log = list[tuple[str, float]]


def posting(log: Log, throttle: Throttle, now: Callable[[], float]) -> Any:
    async def note(name: str) -> None:
        log.append((name, now()))

    @operation("post", throttle=throttle)
    async def post(ctx: Context, input: Given) -> Answer:
        name = (input.model_extra or {})["name"]
        await ctx.step("note", note, name)
        return Answer()

    return post


class Posts:
    """A throttled operation on two workers, and when its runs started."""

    def __init__(self, journals: Journals, throttle: Throttle) -> None:
        self._log: Log = []
        post = posting(self._log, throttle, self.now)
        self.one = Harness([post], journal=journals[0])
        self.two = self.one.beside([post], journal=journals[1])
        self._begun = self.one.clock.now()

    def now(self) -> float:
        return self.one.clock.now() - self._begun

    @property
    def starts(self) -> dict[str, float]:
        return dict(self._log)

    async def ask(self, *names: str, **how: Any) -> list[str]:
        """Runs in this order, all but at the same moment; their ids."""
        ids = []
        for index, name in enumerate(names):
            worker = (self.one, self.two)[index % 2]
            wanted = {"name": name, "who": name[0]}
            ids.append((await worker.submit("post", wanted, **how)).id)
        return ids


async def test_starts_are_spread_after_a_burst(journals: Journals) -> None:
    """Two at once, then one each quarter of the period, in the order of the asking."""
    posts = Posts(journals, Throttle(4, 60, burst=2))
    async with posts.one, posts.two:
        await posts.ask(*"abcde")
        assert posts.starts == {"a": 0, "b": 0}
        for _ in range(3):
            await posts.one.advance(14)
            await posts.one.advance(1)
        assert posts.starts == {"a": 0, "b": 0, "c": 15, "d": 30, "e": 45}


async def test_each_key_has_a_throttle_of_its_own(journals: Journals) -> None:
    """One that is used up does not hold up another."""
    posts = Posts(journals, Throttle(1, 60, key="who"))
    async with posts.one, posts.two:
        await posts.ask("a1", "a2", "b1", "b2")
        assert posts.starts == {"a1": 0, "b1": 0}
        await posts.one.advance(60)
        assert posts.starts == {"a1": 0, "b1": 0, "a2": 60, "b2": 60}


async def test_who_comes_later_does_not_jump_the_queue(journals: Journals) -> None:
    """Who has been booked goes first, also at a moment in which another finds room."""
    posts = Posts(journals, Throttle(1, 10))
    async with posts.one, posts.two:
        await posts.ask(*"abc")
        await posts.one.advance(9)
        await posts.ask("d")
        for _ in range(4):
            await posts.one.advance(1)
            await posts.one.advance(9)
        assert list(posts.starts) == ["a", "b", "c", "d"]
        assert [posts.starts[name] for name in "bcd"] == [10, 20, 30]


async def test_late_claims_keep_the_order_and_the_rate(journals: Journals) -> None:
    """Claims are always a little late: nobody is sent to the end of the queue for that."""
    posts = Posts(journals, Throttle(1, 10))
    names = [f"{index:02}" for index in range(7)]
    async with posts.one, posts.two:
        await posts.ask(*names)
        await posts.one.advance(0.5)
        for _ in range(7):
            for pause in (9.07, *[0.103] * 9):
                await posts.one.advance(pause)
        starts = posts.starts
    assert list(starts) == names
    times = list(starts.values())
    assert all(later - earlier >= 10 for earlier, later in itertools.pairwise(times))
    assert times[-1] < 7 * 10.2


async def test_a_downtime_is_followed_by_no_flood(journals: Journals) -> None:
    """What was booked while nobody worked starts at the rate, and everything starts."""
    posts = Posts(journals, Throttle(1, 10))
    async with posts.one, posts.two:
        await posts.ask(*"abcdef")
        await posts.one.stop()
        await posts.two.stop()
        posts.one.clock.advance(1000)
        await posts.one.start()
        await posts.two.start()
        for _ in range(12):
            await posts.one.advance(5)
    times = sorted(posts.starts.values())
    assert times[:2] == [0, 1000]
    assert len(times) == 6
    assert all(later - earlier >= 10 for earlier, later in itertools.pairwise(times))
    assert times[-1] <= 1050


async def test_only_the_first_start_counts(journals: Journals) -> None:
    """A retry of a step, a wake and a crash need no new place."""
    tried: list[str] = []

    async def flaky(name: str) -> None:
        tried.append(name)
        if tried.count(name) == 1:
            raise ConnectionError("once")

    @operation("post", throttle=Throttle(1, 3600), retry=Retry(attempts=2, first=10))
    async def post(ctx: Context, input: Given) -> Answer:
        await ctx.step("flaky", flaky, "a")
        await ctx.sleep(20)
        await ctx.wait("go")
        return Answer()

    async with Harness([post], journal=journals[0]) as harness:
        run = await harness.submit("post")
        await harness.advance(11)
        await harness.advance(21)
        await harness.crash()
        await harness.emit("go")
        assert await harness.status(run.id) == "succeeded"


async def test_a_delayed_run_is_due_at_its_time(journals: Journals) -> None:
    """Not before; a resume makes it due at once, and a canceled one never comes."""
    posts = Posts(journals, Throttle(100, 1, burst=100))
    async with posts.one, posts.two:
        _, early, gone = await posts.ask("late", "early", "gone", delay=50.0)
        assert await posts.one.status(early) == "queued"
        await posts.two.engine.resume(early)
        await posts.one.engine.cancel(gone)
        await posts.one.advance(49)
        assert posts.starts == {"early": 0}
        await posts.one.advance(1)
        assert posts.starts == {"early": 0, "late": 50}


@pytest.mark.parametrize("key", [None, "who"])
async def test_a_booked_run_says_so(journals: Journals, key: str | None) -> None:
    """It is due at its booking, and counts as parked until then."""
    posts = Posts(journals, Throttle(1, 10, key=key))
    async with posts.one:
        ids = await posts.one.submit("post", {"name": "a", "who": "a"})
        booked = await posts.one.submit("post", {"name": "b", "who": "a"})
        assert (booked.held, booked.status) == (2, "queued")
        assert booked.wake_at == posts.one.clock.now() + 10
        (row,) = await posts.one.engine.queues()
        assert (row.due, row.held, row.parked, row.oldest_due) == (0, 0, 1, None)
        assert await posts.one.status(ids.id) == "succeeded"
