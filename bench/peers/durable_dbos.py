"""DBOS's side of bench/durable.py: the same work by its documented API, in this process.

    python bench/peers/durable_dbos.py URL HOME CLIENTS STEPS SECONDS

Async workflows and steps, `start_workflow_async`, every result awaited; its default settings.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from dbos import DBOS, DBOSConfig
from sqlalchemy import Engine, event

_seen: dict[str, Any] = {}


@event.listens_for(Engine, "checkout")
def _connected(connection: Any, *_: object) -> None:
    """Look once how a connection is set."""
    if not _seen:
        lite = type(connection).__module__ == "sqlite3"
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous" if lite else "SHOW synchronous_commit")
        _seen["synchronous"] = cursor.fetchone()[0]
        cursor.close()
        connection.rollback()


@DBOS.step()
async def add(i: int) -> dict[str, int]:
    """One step, with the same result."""
    return {"i": i, "square": i * i}


@DBOS.workflow()
async def count(n: int) -> int:
    """Add numbers, each in a step of its own."""
    total = 0
    for i in range(n):
        total += (await add(i))["i"]
    return total


async def main(url: str, clients: int, steps: int, seconds: float) -> None:
    """Work, and print how long it took and how a connection is set."""
    config: DBOSConfig = {"name": "bench", "system_database_url": url, "log_level": "ERROR"}
    DBOS(config=config)
    DBOS.launch()
    started = time.perf_counter()

    async def client() -> None:
        while time.perf_counter() - started < seconds:
            handle = await DBOS.start_workflow_async(count, steps)
            await handle.get_result()

    await asyncio.gather(*(client() for _ in range(clients)))
    facts = {
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time(),
        "synchronous": _seen["synchronous"],
    }
    DBOS.destroy()
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])))
