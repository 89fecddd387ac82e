"""Concurrency and priority: how many runs are driven at once, and which of them comes next."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from understudy import Context, Permanent, operation
from understudy.engine.flow import Concurrency
from understudy.engine.journal import Journal
from understudy.engine.plans.embedded import Limits
from understudy.engine.retry import Retry
from understudy.testing.harness import Answer, Given, Harness

Journals = tuple[Journal, Journal]

LEASED = Limits(poll_every=1e9, lease=90)


class Room:
    """Bodies that stay until they are let go: who came, in order, and who is inside."""

    def __init__(self) -> None:
        self.came: list[str] = []
        self.inside: dict[str, asyncio.Event] = {}

    async def stay(self, name: str) -> None:
        self.came.append(name)
        self.inside[name] = asyncio.Event()
        try:
            await self.inside[name].wait()
        finally:
            del self.inside[name]

    def let_go(self, name: str) -> None:
        self.inside[name].set()


def painting(room: Room, limits: Concurrency, priority: Any = 0.0) -> Any:
    @operation("paint", concurrency=limits, priority=priority)
    async def paint(ctx: Context, input: Given) -> Answer:
        await ctx.step("stay", room.stay, name_of(input))
        return Answer()

    return paint


def name_of(given: Given) -> str:
    return str((given.model_extra or {})["name"])


async def submitted(harness: Harness, *names: str, **fields: Any) -> dict[str, str]:
    """Runs for these names, one a second, whose first letter is who they are for; their ids."""
    runs = {}
    for name in names:
        harness.clock.advance(1)
        runs[name] = (await harness.submit("paint", {"name": name, "who": name[0], **fields})).id
    return runs


async def let_go(harness: Harness, room: Room, name: str) -> None:
    room.let_go(name)
    await harness.settle()


async def test_no_more_than_the_total_are_driven(journals: Journals) -> None:
    """By both workers together; who waits comes in the order of the asking."""
    room = Room()
    paint = painting(room, Concurrency(total=2))
    async with (
        Harness([paint], journal=journals[0]) as one,
        one.beside([paint], journal=journals[1]) as two,
    ):
        await submitted(one, "a", "b", "c")
        await submitted(two, "d", "e")
        for inside in (["a", "b"], ["b", "c"], ["c", "d"], ["d", "e"], ["e"]):
            assert list(room.inside) == inside
            assert len(one.plan.driving) + len(two.plan.driving) == len(inside)
            await let_go(one, room, inside[0])
    assert room.came == ["a", "b", "c", "d", "e"]


async def test_no_more_than_each_are_driven_for_one_key(journals: Journals) -> None:
    """Other keys are not held up; within one, the first is the next. `queues` says who is held."""
    room = Room()
    paint = painting(room, Concurrency(key="who", each=1))
    async with (
        Harness([paint], journal=journals[0]) as one,
        one.beside([paint], journal=journals[1]) as two,
    ):
        await submitted(one, "a1", "a2", "a3", "b1")
        await submitted(two, "b2", "a4")
        assert sorted(room.inside) == ["a1", "b1"]
        rows = {row.concurrency_key: row for row in await two.engine.queues()}
        assert (rows["a"].running, rows["a"].held, rows["a"].due) == (1, 3, 0)
        assert (rows["b"].running, rows["b"].held) == (1, 1)
        for name in ("a1", "a2", "b1", "a3", "b2"):
            await let_go(one, room, name)
        assert list(room.inside) == ["a4"]
    assert [name for name in room.came if name[0] == "a"] == ["a1", "a2", "a3", "a4"]


async def test_total_and_key_limit_together(journals: Journals) -> None:
    """A place that one key may not take is for another."""
    room = Room()
    paint = painting(room, Concurrency(total=3, key="who", each=2))
    async with Harness([paint], journal=journals[0]) as one:
        await submitted(one, "a1", "a2", "a3", "b1", "b2")
        assert sorted(room.inside) == ["a1", "a2", "b1"]
        await let_go(one, room, "b1")
        assert sorted(room.inside) == ["a1", "a2", "b2"]
        await let_go(one, room, "b2")
        assert sorted(room.inside) == ["a1", "a2"]
        await let_go(one, room, "a2")
        assert sorted(room.inside) == ["a1", "a3"]


@pytest.mark.parametrize("way", ["ends", "fails", "sleeps", "waits", "retries", "canceled"])
async def test_a_place_is_freed(journals: Journals, way: str) -> None:
    """By every way in which a run leaves its driver; the held run of the key comes at once."""
    room = Room()

    @operation("paint", concurrency=Concurrency(key="who"), retry=Retry(attempts=2, first=60))
    async def paint(ctx: Context, input: Given) -> Answer:
        name = name_of(input)
        await ctx.step("stay", room.stay, name)
        if name == "a1" and way == "fails":
            raise Permanent("no")
        if name == "a1" and way == "sleeps":
            await ctx.sleep(3600)
        if name == "a1" and way == "waits":
            await ctx.wait("never")
        if name == "a1" and way == "retries":
            await ctx.step("again", again)
        return Answer()

    async def again() -> None:
        raise ConnectionError("not yet")

    async with (
        Harness([paint], journal=journals[0]) as one,
        one.beside([paint], journal=journals[1]),
    ):
        runs = await submitted(one, "a1", "a2")
        assert list(room.inside) == ["a1"]
        if way == "canceled":
            await one.engine.cancel(runs["a1"])
            await one.settle()
        else:
            await let_go(one, room, "a1")
        if way == "waits":  # it stays in memory for a moment
            await one.advance(3)
        assert list(room.inside) == ["a2"]
        expected = {"ends": "succeeded", "fails": "failed", "canceled": "canceled"}
        assert await one.status(runs["a1"]) == expected.get(way, "waiting")


async def test_a_crash_frees_the_place_with_the_lease(journals: Journals) -> None:
    """Until then the dead worker's run counts; then it goes on, before who has not begun."""
    room = Room()
    paint = painting(room, Concurrency(total=1))
    async with (
        Harness([paint], journal=journals[0], limits=LEASED) as one,
        one.beside([paint], journal=journals[1]) as two,
    ):
        await submitted(one, "a")
        dead, alive = (one, two) if one.plan.driving else (two, one)
        await submitted(one, "b")
        await dead.kill()
        for _ in range(2):
            await alive.advance(30)
            assert list(room.inside) == []
        await alive.advance(31)
        assert list(room.inside) == ["a"]
        await let_go(alive, room, "a")
        assert list(room.inside) == ["b"]
    assert room.came == ["a", "a", "b"]


async def test_who_comes_back_needs_a_place_again(journals: Journals) -> None:
    """A run that slept is held while another has its key, and comes after it."""
    room = Room()

    @operation("paint", concurrency=Concurrency(key="who"))
    async def paint(ctx: Context, input: Given) -> Answer:
        await ctx.sleep(60 if name_of(input) == "a1" else 0)
        await ctx.step("stay", room.stay, name_of(input))
        return Answer()

    async with Harness([paint], journal=journals[0]) as one:
        runs = await submitted(one, "a1", "a2")
        assert list(room.inside) == ["a2"]
        await one.advance(61)
        assert list(room.inside) == ["a2"]
        assert (await one.engine.get(runs["a1"])).held == 1
        await let_go(one, room, "a2")
        assert list(room.inside) == ["a1"]


async def test_a_canceled_run_leaves_the_queue(journals: Journals) -> None:
    """One that is held goes without a word; the next of its key still comes."""
    room = Room()
    paint = painting(room, Concurrency(key="who"))
    async with Harness([paint], journal=journals[0]) as one:
        runs = await submitted(one, "a1", "a2", "a3")
        await one.engine.cancel(runs["a2"])
        await one.settle()
        assert list(room.inside) == ["a1"]
        await let_go(one, room, "a1")
        assert list(room.inside) == ["a3"]
    assert room.came == ["a1", "a3"]


async def test_a_higher_limit_counts_from_the_next_start(journals: Journals) -> None:
    """What is held under the old limit is looked at again."""
    room = Room()
    async with Harness([painting(room, Concurrency(key="who"))], journal=journals[0]) as one:
        await submitted(one, "a1", "a2", "a3")
        await one.crash([painting(room, Concurrency(key="who", each=2))])
        await one.settle()
        assert sorted(room.inside) == ["a1", "a2"]
        await let_go(one, room, "a1")
        assert sorted(room.inside) == ["a2", "a3"]


async def test_a_priority_overtakes_but_nobody_starves(journals: Journals) -> None:
    """It counts as so much earlier: who has waited longer than that is not overtaken."""
    room = Room()

    def head_start(given: Given) -> float:
        return 100.0 if name_of(given).startswith("u") else 0.0

    paint = painting(room, Concurrency(total=1), head_start)
    async with Harness([paint], journal=journals[0]) as one:
        await submitted(one, "first", "plain")
        await one.advance(98)
        await submitted(one, "urgent")
        await one.advance(2)
        await submitted(one, "u-late")
        for name in ("first", "urgent", "plain", "u-late"):
            assert list(room.inside) == [name]
            await let_go(one, room, name)


async def test_what_asks_for_no_limit_is_not_held_up(journals: Journals) -> None:
    """A full queue of one operation leaves the others alone, and they take none of its places."""
    room = Room()

    @operation("free")
    async def free(ctx: Context, input: Given) -> Answer:
        return Answer()

    paint = painting(room, Concurrency(total=1))
    async with Harness([paint, free], journal=journals[0]) as one:
        await submitted(one, "a", "b")
        assert (await one.submit("free")).status == "succeeded"
        assert list(room.inside) == ["a"]
