"""The operation that bench/durable.py measures: numbers added up, each in a step of its own."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel

from understudy import Context, operation

ended: asyncio.Queue[None] = asyncio.Queue()
"""A run that ends says so here, and the next one begins."""


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
    ended.put_nowait(None)
    return Counted(total=total)
