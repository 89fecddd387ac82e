"""The operation that bench/large.py parks by the million."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel

from understudy import Context, operation

awake = asyncio.Semaphore(0)
"""Released by each run that has slept."""


class Nap(BaseModel):
    """How long to sleep, also the answer."""

    seconds: float


@operation("nap")
async def nap(ctx: Context, input: Nap) -> Nap:  # noqa: A002
    """Sleep, and say that it is over."""
    await ctx.sleep(input.seconds)
    awake.release()
    return input
