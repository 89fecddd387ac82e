"""Runs that a signal starts, and askings that are one and the same."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from understudy import Context, operation
from understudy.engine.flow import Trigger
from understudy.engine.journal import Journal, Past
from understudy.engine.run import RunFilter
from understudy.errors import Conflict, InvalidInput
from understudy.testing.harness import TENANT, Answer, Given, Harness

Journals = tuple[Journal, Journal]


class Photo(BaseModel):
    """What is stored."""

    name: str
    kind: str


@operation("thumbnail", trigger=[Trigger("file.stored", {"kind": "photo"})])
async def thumbnail(ctx: Context, input: Photo) -> Answer:
    return Answer(value=input.name)


@operation("index", trigger=[Trigger("file.stored")])
async def index(ctx: Context, input: Given) -> Answer:
    return Answer()


@operation("upload")
async def upload(ctx: Context, input: Given) -> Answer:
    await ctx.emit("file.stored", {"name": "b.jpg", "kind": "photo"})
    await ctx.sleep(60)
    return Answer()


async def runs_of(harness: Harness, name: str) -> list[Any]:
    return list(await harness.engine.list(RunFilter(TENANT, operation=name)))


async def test_a_signal_starts_what_it_matches(journals: Journals) -> None:
    """With the signal's data as input; once, though two workers hear of it."""
    operations: list[Any] = [thumbnail, index]
    async with (
        Harness(operations, journal=journals[0]) as one,
        one.beside(operations, journal=journals[1]),
    ):
        assert await one.emit("file.stored", {"name": "a.jpg", "kind": "photo"}) == 2
        assert await one.emit("file.stored", {"name": "a.txt", "kind": "text"}) == 1
        assert await one.emit("file.gone", {"kind": "photo"}) == 0
        (run,) = await runs_of(one, "thumbnail")
        assert await one.output(run.id) == {"value": "a.jpg"}
        assert [run.status for run in await runs_of(one, "index")] == ["succeeded"] * 2


async def test_an_emit_starts_it_once_over_crashes(journals: Journals) -> None:
    """The emit's step and the run are one change; the user is the emitting run's."""
    async with Harness([thumbnail, upload], journal=journals[0]) as one:
        run = await one.submit("upload", user="ann")
        for _ in range(2):
            await one.crash()
            await one.settle()
        await one.finish(run.id)
        (started,) = await runs_of(one, "thumbnail")
        assert (started.user, started.status) == ("ann", "succeeded")


async def test_data_that_does_not_fit_fails_visibly(journals: Journals) -> None:
    """The run is there and says what is wrong; the signal and its other runs go on."""
    async with Harness([thumbnail, index, upload], journal=journals[0]) as one:
        assert await one.emit("file.stored", {"kind": "photo"}) == 2
        (bad,) = await runs_of(one, "thumbnail")
        assert bad.error is not None
        assert (bad.status, bad.error["code"]) == ("failed", "invalid_input")
        assert "name" in bad.error["message"]
        assert [run.status for run in await runs_of(one, "index")] == ["succeeded"]
        assert await one.emit("file.stored", [1]) == 1
        ends = sorted(run.status for run in await runs_of(one, "index"))
        assert ends == ["failed", "succeeded"]


@operation("charge", idempotency=("order.id", "round"), trigger=[Trigger("order.due")])
async def charge(ctx: Context, input: Given) -> Answer:
    return Answer(value=ctx.run_id)


async def test_the_same_asking_is_the_same_run(journals: Journals) -> None:
    """By the input's own values, through either process, also when the run has ended."""
    async with (
        Harness([charge], journal=journals[0]) as one,
        one.beside([charge], journal=journals[1]) as two,
    ):
        given = {"order": {"id": 7}, "round": 1}
        first = await one.submit("charge", given)
        assert first.status == "succeeded"
        assert (await two.submit("charge", {**given, "note": "again"})).id == first.id
        assert (await two.submit("charge", {**given, "round": 2})).id != first.id
        elsewhere = await one.engine.submit("charge", given, tenant="other")
        assert elsewhere.id != first.id
        apart = [(await one.submit("charge", {"order": {"id": 7}})).id for _ in range(2)]
        assert len(set(apart)) == 2


async def test_a_triggered_run_is_the_same_one_too(journals: Journals) -> None:
    """A second signal about the same thing starts nothing, and is no error."""
    async with Harness([charge], journal=journals[0]) as one:
        given = {"order": {"id": 7}, "round": 1}
        assert await one.emit("order.due", given) == 1
        assert await one.emit("order.due", given) == 0
        assert await one.emit("order.due", {**given, "round": 2}) == 1
        assert len(await runs_of(one, "charge")) == 2


async def test_a_callers_key_keeps_its_input(journals: Journals) -> None:
    """The same key and input are the same run; with another input it is a conflict."""
    async with (
        Harness([index], journal=journals[0]) as one,
        one.beside([index], journal=journals[1]) as two,
    ):
        first = await one.submit("index", {"n": 1}, idempotency_key="k")
        assert (await two.submit("index", {"n": 1}, idempotency_key="k")).id == first.id
        with pytest.raises(Conflict, match=f"was used for {first.id}, with another input"):
            await two.submit("index", {"n": 2}, idempotency_key="k")
        for bad in ("", "x" * 201, "a\0"):
            with pytest.raises(InvalidInput):
                await one.submit("index", idempotency_key=bad)
        assert len(await runs_of(one, "index")) == 1


async def test_a_key_is_free_once_its_run_is_forgotten(journals: Journals) -> None:
    """Retention forgets the key with the run; until then it counts."""
    async with Harness([index], journal=journals[0]) as one:
        first = await one.submit("index", {"n": 1}, idempotency_key="k")
        await one.advance(100)
        assert (await one.submit("index", {"n": 1}, idempotency_key="k")).id == first.id
        assert await journals[0].forget(Past(one.clock.now())) == 1
        assert (await one.submit("index", {"n": 2}, idempotency_key="k")).id != first.id


async def test_a_signal_with_a_key_counts_once(journals: Journals) -> None:
    """From either process: it wakes, starts and is remembered a single time."""
    async with (
        Harness([index], journal=journals[0]) as one,
        one.beside([index], journal=journals[1]) as two,
    ):
        assert await one.emit("file.stored", {"n": 1}, idempotency_key="s") == 1
        assert await two.emit("file.stored", {"n": 1}, idempotency_key="s") == 0
        assert await two.engine.emit("file.stored", {}, tenant="other", idempotency_key="s") == 1
        assert len(await runs_of(one, "index")) == 1
