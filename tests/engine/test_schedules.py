"""Cron operations: one run for each slot, whatever becomes of processes, code and clocks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import BaseModel

from understudy import Context, operation
from understudy.engine.cron import Cron
from understudy.engine.flow import CancelOn
from understudy.engine.journal import Journal
from understudy.engine.run import RunFilter
from understudy.testing.harness import TENANT, Answer, Given, Harness

Journals = tuple[Journal, Journal]

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


def reporting(cron: Cron, name: str = "report") -> Any:
    @operation(name, cron=cron)
    async def report(ctx: Context, input: Given) -> Answer:
        return Answer(value=input.model_extra)

    return report


async def times(harness: Harness, name: str = "report") -> list[float]:
    """When the operation's runs were created, oldest first."""
    wanted = RunFilter(TENANT, operation=name, limit=1000)
    return sorted(run.created_at for run in await harness.engine.list(wanted))


async def slots(harness: Harness, name: str = "report") -> list[str]:
    """The slots of the operation's runs, oldest first."""
    wanted = RunFilter(TENANT, operation=name, limit=1000)
    runs = await harness.engine.list(wanted)
    return sorted((run.idempotency_key or "").removeprefix("cron:") for run in runs)


async def test_a_slot_starts_one_run_over_two_workers(journals: Journals) -> None:
    """At its minute, with the cron's input; nothing for what passed before it was there."""
    report = reporting(Cron("*/10 * * * *", input={"kind": "short"}))
    async with (
        Harness([report], journal=journals[0]) as one,
        one.beside([report], journal=journals[1]),
    ):
        assert await times(one) == []
        begun = one.clock.now()  # on a slot, which has passed by then
        for _ in range(30):
            await one.advance(MINUTE)
        assert [time - begun for time in await times(one)] == [600, 1200, 1800]
        runs = await one.engine.list(RunFilter(TENANT))
        assert {run.status for run in runs} == {"succeeded"}
        assert await one.output(runs[0].id) == {"value": {"kind": "short"}}


async def test_workers_that_come_and_go_miss_and_repeat_nothing(journals: Journals) -> None:
    """Crashes right at the slots, with the other worker there or not."""
    report = reporting(Cron("*/10 * * * *"))
    async with (
        Harness([report], journal=journals[0]) as one,
        one.beside([report], journal=journals[1]) as two,
    ):
        for turn in range(12):
            one.clock.advance(5 * MINUTE)
            await (one, two)[turn % 2].crash()
            await one.settle()
        assert len(await times(one)) == 6
        assert len(set(await slots(one))) == 6


@pytest.mark.parametrize(("missed", "made_up"), [("skip", 0), ("latest", 1), ("all", 24)])
async def test_missed_slots_are_made_up_as_asked(
    journals: Journals, missed: Any, made_up: int
) -> None:
    """After a day without a worker: none, the last, or all; then it goes on as before."""
    report = reporting(Cron("30 * * * *", missed=missed))
    async with Harness([report], journal=journals[0]) as one:
        await one.settle()
        await one.stop()
        one.clock.advance(DAY)
        await one.start()
        await one.settle()
        assert len(await times(one)) == made_up
        assert len(set(await slots(one))) == made_up
        await one.advance(HOUR / 2)
        assert len(await times(one)) == made_up + 1


async def test_a_changed_expression_counts_from_now(journals: Journals) -> None:
    """The old slots are gone, and what the new one would have had before is not made up."""
    old, new = reporting(Cron("0 * * * *", missed="all")), reporting(Cron("*/5 * * * *"))
    async with Harness([old], journal=journals[0]) as one:
        await one.settle()
        await one.crash([])
        one.clock.advance(3 * HOUR + MINUTE)
        await one.crash([new])
        await one.settle()
        assert await times(one) == []
        for _ in range(6):
            await one.advance(MINUTE)
        assert len(await times(one)) == 1


async def test_clocks_that_are_put_forward_and_back(journals: Journals) -> None:
    """Berlin, half past two: once on the day that has none, once on the day that has two."""
    report = reporting(Cron("30 2 * * *", timezone="Europe/Berlin", missed="all"))
    changes = {
        datetime(2027, 3, 27, 12, tzinfo=UTC): ["28 03:00 +0200", "29 02:30 +0200"],
        datetime(2027, 10, 30, 12, tzinfo=UTC): ["31 02:30 +0200", "01 02:30 +0100"],
    }
    async with Harness([report], journal=journals[0]) as one:
        for day, expected in changes.items():
            await one.advance(day.timestamp() - one.clock.now())
            before = await slots(one)
            for _ in range(16):
                await one.advance(3 * HOUR)
            found = [datetime.fromisoformat(slot) for slot in (await slots(one))[len(before) :]]
            local = [when.astimezone(ZoneInfo("Europe/Berlin")) for when in found]
            assert [when.strftime("%d %H:%M %z") for when in local] == expected


class Order(BaseModel):
    """An input with what a signal may cancel it by."""

    order: int = 7


async def test_a_run_by_the_clock_is_a_run_like_any(journals: Journals) -> None:
    """Signals cancel it, and other tenants' crons are none of its business."""

    @operation("nap", cron=Cron("0 * * * *"), cancel_on=[CancelOn("gone", match="order")])
    async def nap(ctx: Context, input: Order) -> Answer:
        await ctx.sleep(DAY)
        return Answer()

    async with Harness([nap], journal=journals[0]) as one:
        await one.advance(HOUR)
        (run,) = await one.engine.unfinished(TENANT)
        assert await one.emit("gone", {"order": 7}) == 1
        assert await one.status(run.id) == "canceled"
