"""The operation that bench/durable.py measures: numbers added up, each in a step of its own."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel

from understudy import Context, operation

in_flight = asyncio.Semaphore(0)
"""Room for runs; each makes room for the next as it ends."""


class Count(BaseModel):
    """How many steps."""

    n: int


class Counted(BaseModel):
    """The sum of what the steps answered."""

    total: int


async def add(i: int) -> dict[str, int]:
    """One step: its result is JSON."""
    return {"i": i, "square": i * i}


@operation("count")
async def count(ctx: Context, input: Count) -> Counted:  # noqa: A002
    """Add numbers, each in a step of its own."""
    total = 0
    for i in range(input.n):
        total += (await ctx.step("add", add, i))["i"]
    in_flight.release()
    return Counted(total=total)
