"""The operation that bench/latency.py asks for: it notes how long its first step had to wait."""

from __future__ import annotations

import asyncio
import time

from pydantic import BaseModel

from understudy import Context, operation

waited: dict[str, list[float]] = {"idle": [], "load": [], "probe": []}
"""Seconds from the asking to the first line of the first step's body, by who asked."""

ended = asyncio.Semaphore(0)
"""Released by each run of a client or of the idle engine as it ends."""


class Asked(BaseModel):
    """Who asked, when (on this process's own clock), and for how many steps."""

    by: str
    at: float
    n: int


class Begun(BaseModel):
    """How many steps there were."""

    n: int


async def begin(by: str, at: float) -> dict[str, int]:
    """The first step."""
    waited[by].append(time.perf_counter() - at)
    return {"i": 0}


async def go_on(i: int) -> dict[str, int]:
    """Every other step."""
    return {"i": i}


@operation("begin")
async def begun(ctx: Context, input: Asked) -> Begun:  # noqa: A002
    """Run steps, and note when the first began."""
    await ctx.step("begin", begin, input.by, input.at)
    for i in range(1, input.n):
        await ctx.step("go_on", go_on, i)
    if input.by != "probe":
        ended.release()
    return Begun(n=input.n)
