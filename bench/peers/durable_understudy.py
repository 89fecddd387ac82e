"""Understudy's side of bench/durable.py: awaited steps through the whole app, in this process.

    python bench/peers/durable_understudy.py URL HOME CLIENTS STEPS SECONDS

CLIENTS keep one run of STEPS steps each in flight, for SECONDS and until the last one has ended.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from bench.peers.counting import count, ended  # noqa: E402 - loading this file loads `count`

from understudy.app import App  # noqa: E402 - the sources beside this file, installed or not
from understudy.db.database import sql  # noqa: E402
from understudy.loop import run  # noqa: E402
from understudy.settings import Settings  # noqa: E402

_DURABILITY = sql("PRAGMA synchronous", "SHOW synchronous_commit")


async def main(settings: Settings, clients: int, steps: int, seconds: float) -> None:
    """Work, and print how long it took and how the writing connection is set."""
    async with App.open(settings) as app, app.worker():
        started = time.perf_counter()

        async def client() -> None:
            while time.perf_counter() - started < seconds:
                await app.engine.submit(count.name, {"n": steps}, tenant=app.tenant)
                await ended.get()

        await asyncio.gather(*(client() for _ in range(clients)))
        while await app.engine.unfinished(app.tenant):  # noqa: ASYNC110 - it is in a database
            await asyncio.sleep(0.01)  # the last few; everything else was awaited
        facts = {
            "seconds": time.perf_counter() - started,
            "cpu": time.process_time(),
            "synchronous": await app.database.write(lambda tx: tx.scalar(_DURABILITY)),
            "commits": app.database.writer_stats.commits,
        }
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    told = Settings(database_url=sys.argv[1], home=Path(sys.argv[2]), load=__file__)
    run(main(told, int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])))
