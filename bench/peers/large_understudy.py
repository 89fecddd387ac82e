"""The work of bench/large.py, in this process, on a database that has been filled.

    python bench/peers/large_understudy.py URL HOME wake STARTED DUE,DUE,…
    python bench/peers/large_understudy.py URL HOME claim

`wake` starts a worker and prints how long that took since STARTED, until a first run had ended;
how long after each time DUE the thousand runs that were due then had ended; and its peak memory.
`claim` prints how long each claim of 200 runs takes.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from bench.peers.napping import awake, nap  # noqa: E402 - loading this file loads `nap`

from understudy.app import App  # noqa: E402 - the sources beside this file, installed or not
from understudy.loop import run  # noqa: E402
from understudy.settings import Settings  # noqa: E402

WOKEN, CLAIMED, CLAIMS = 1000, 200, 15


async def wake(app: App, started: float, dues: list[float]) -> dict[str, Any]:
    """What starting a worker and waking runs cost, in seconds; memory in bytes."""
    async with app.worker() as plan:
        await app.engine.submit(nap.name, {"seconds": 0}, tenant=app.tenant)
        await awake.acquire()
        ready = time.time() - started
        took = []
        for due in dues:
            if (left := due - time.time()) < 0:
                raise SystemExit(f"not ready when the runs were due, {-left:.1f} s ago")
            await asyncio.sleep(left)
            for _ in range(WOKEN):
                await awake.acquire()
            while plan.driving:  # noqa: ASYNC110 - until the last end is durable
                await asyncio.sleep(0.001)
            took.append(time.time() - due)
    return {"ready": ready, "took": took, "memory": peak_memory()}


async def claim(app: App) -> dict[str, Any]:
    """What claims cost, in seconds, while more runs are due than they take."""
    asking = [
        app.engine.submit(nap.name, {"seconds": 0}, tenant=app.tenant)
        for _ in range(CLAIMED * (CLAIMS + 1))
    ]
    await asyncio.gather(*asking)
    scope, took = app.registry.scope(), []
    for _ in range(CLAIMS):
        begun = time.perf_counter()
        claims = await app.journal.claim("bench", scope, limit=CLAIMED, now=app.clock.now())
        took.append(time.perf_counter() - begun)
        if len(claims.runs) != CLAIMED:
            raise SystemExit(f"a claim took {len(claims.runs)} runs of {CLAIMED}")
    return {"took": took}


def peak_memory() -> int:
    """The most that this process has held, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


async def main(settings: Settings, what: str, *details: str) -> None:
    """Do one of both, and print what it cost."""
    async with App.open(settings) as app:
        if what == "wake":
            said = await wake(app, float(details[0]), list(map(float, details[1].split(","))))
        else:
            said = await claim(app)
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    told = Settings(database_url=sys.argv[1], home=Path(sys.argv[2]), load=__file__)
    run(main(told, *sys.argv[3:]))
