"""What both sides of bench/latency.py are asked for, and in which order."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

IDLE, WARM_UP = 200, 20
CLIENTS, STEPS = 300, 5
PROBES_A_SECOND = 20

Ask = Callable[[str, int], Coroutine[Any, Any, None]]
"""Asks for a run of so many steps, in the name of `idle`, `load` or `probe`.

Returns once it has ended; for a probe, once it was taken."""


async def print_waits(ask: Ask, waited: dict[str, list[float]], seconds: float) -> None:
    """Ask, and print the seconds that the first steps of `idle` and `probe` runs waited."""
    await _ask_one_at_a_time(ask)
    probes = await _ask_under_load(ask, waited, seconds)
    facts: dict[str, Any] = {
        "idle": waited["idle"][WARM_UP:],
        "loaded": waited["probe"],
        "runs": len(waited["load"]),
        "probes": probes,
    }
    sys.stdout.write(json.dumps(facts) + "\n")


async def _ask_one_at_a_time(ask: Ask) -> None:
    for _ in range(WARM_UP + IDLE):
        await asyncio.sleep(0.005)  # for the engine to be idle again
        await ask("idle", 1)


async def _ask_under_load(ask: Ask, waited: dict[str, list[float]], seconds: float) -> int:
    """Clients keep the engine busy; beside them come probes at an even rate. How many."""
    ending = False

    async def client() -> None:
        while not ending:
            await ask("load", STEPS)

    clients = [asyncio.create_task(client()) for _ in range(CLIENTS)]
    await asyncio.sleep(1)  # past the first rush
    started = time.perf_counter()
    probes: list[asyncio.Task[None]] = []
    for number in range(int(seconds * PROBES_A_SECOND)):
        await asyncio.sleep(started + number / PROBES_A_SECOND - time.perf_counter())
        probes.append(asyncio.create_task(ask("probe", 1)))  # none waits for the one before it
    await asyncio.gather(*probes)
    while len(waited["probe"]) < len(probes):  # noqa: ASYNC110 - filled by the steps themselves
        await asyncio.sleep(0.01)
    ending = True
    await asyncio.gather(*clients)
    return len(probes)
