"""What steps return, and what becomes of it."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest
from pydantic import BaseModel

from understudy import Context, operation
from understudy.engine.journal import Journal
from understudy.testing.harness import Answer, Given, Harness


class Photo(BaseModel):
    name: str


class Unknown:
    """A type that JSON does not know."""


async def typed() -> list[Photo]:
    return [Photo(name="ä")]


def untyped() -> Any:
    return {"pair": (1, 2)}


async def nothing() -> Any:
    return None


async def not_a_number() -> float:
    return float("nan")


async def broken_text() -> str:
    return "\udce4"


class Calling:
    """An object that is called like an async function."""

    async def __call__(self) -> list[Photo]:
        assert asyncio.get_running_loop()
        return await typed()


async def undeclared() -> Unknown:
    return Unknown()


async def wrong() -> Photo:
    return "no photo"  # type: ignore[return-value]


async def lost() -> list[float]:
    return [float("nan")]


async def exits() -> None:
    raise SystemExit(3)


def exits_in_its_thread() -> None:
    raise SystemExit(3)


async def says_broken_text() -> None:
    raise ValueError("cannot open \udce4.jpg")


async def test_the_first_run_and_every_replay_see_the_same(journal: Journal) -> None:
    """Declared types come back as such, others as JSON gives them, None as None."""
    seen: list[tuple[Any, ...]] = []

    @operation("kinds")
    async def kinds(ctx: Context, input: Given) -> Answer:
        got = (
            await ctx.step("typed", typed),
            await ctx.step("untyped", untyped),
            await ctx.step("nothing", nothing),
            await ctx.step("partial", functools.partial(typed)),
            await ctx.step("object", Calling()),
        )
        seen.append(got)
        await ctx.sleep(60)
        return Answer()

    async with Harness([kinds], journal=journal) as harness:
        run = await harness.engine.submit("kinds", {}, tenant="tenant")
        while len(await harness.steps(run.id)) < 6:
            await harness.settle()
            run = await harness.engine.get(run.id)
            assert not run.done, run
        await harness.crash()
        await harness.finish(run.id)
    photos = [Photo(name="ä")]
    assert len(seen) >= 2
    for got in seen:
        assert got == (photos, {"pair": [1, 2]}, None, photos, photos)


@pytest.mark.parametrize(
    ("body", "type_", "message"),
    [
        (not_a_number, "Unserializable", "float cannot be remembered"),
        (broken_text, "Unserializable", "str cannot be remembered"),
        (undeclared, "Unserializable", "Unknown cannot be remembered"),
        (wrong, "Unserializable", "cannot be remembered"),
        (lost, "Unserializable", "list cannot be remembered"),
        (exits, "Permanent", "sys.exit(3)"),
        (exits_in_its_thread, "Permanent", "sys.exit(3)"),
        (says_broken_text, "ValueError", "cannot open \\udce4.jpg"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_what_cannot_be_remembered_fails_its_step(
    journal: Journal, body: Any, type_: str, message: str
) -> None:
    """The step has failed, with a message that says why; nothing hangs and nothing is swallowed."""

    @operation("bad")
    async def bad(ctx: Context, input: Given) -> Answer:
        await ctx.step("bad", body)
        return Answer()

    async with Harness([bad], journal=journal) as harness:
        run = await harness.engine.submit("bad", {}, tenant="tenant")
        run = await harness.finish(run.id)
        assert run.error is not None
        assert (run.status, run.error["type"], run.error["step"]) == ("failed", type_, "bad")
        assert message in run.error["message"]
        assert (await harness.steps(run.id))["bad"].state == "failed"


async def test_an_output_that_does_not_fit_fails_the_run(journal: Journal) -> None:
    """The operation's declared output is checked before the run counts as done."""

    @operation("bad")
    async def bad(ctx: Context, input: Given) -> Photo:
        return Unknown()  # type: ignore[return-value]

    @operation("leaving")
    async def leaving(ctx: Context, input: Given) -> Answer:
        raise SystemExit("enough")

    class Strange(BaseException):
        pass

    @operation("strange")
    async def strange(ctx: Context, input: Given) -> Answer:
        raise Strange("odd")

    async with Harness([bad, leaving, strange], journal=journal) as harness:
        for name, type_ in (
            ("bad", "Unserializable"),
            ("leaving", "Permanent"),
            ("strange", "Strange"),
        ):
            run = await harness.submit(name)
            assert run.error is not None
            assert (run.status, run.error["type"]) == ("failed", type_)
