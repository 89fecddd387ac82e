"""DBOS's side of bench/latency.py: the same work by its documented API, in this process.

python bench/peers/latency_dbos.py URL HOME SECONDS
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from dbos import DBOS, DBOSConfig

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from bench.peers.asking import print_waits  # noqa: E402 - the file beside this one

waited: dict[str, list[float]] = {"idle": [], "load": [], "probe": []}


@DBOS.step()
async def begin(by: str, at: float) -> dict[str, int]:
    """The first step."""
    waited[by].append(time.perf_counter() - at)
    return {"i": 0}


@DBOS.step()
async def go_on(i: int) -> dict[str, int]:
    """Every other step."""
    return {"i": i}


@DBOS.workflow()
async def begun(by: str, at: float, n: int) -> int:
    """Run steps, and note when the first began."""
    await begin(by, at)
    for i in range(1, n):
        await go_on(i)
    return n


async def main(url: str, seconds: float) -> None:
    """Be asked on an idle engine, then on a loaded one."""
    config: DBOSConfig = {"name": "bench", "system_database_url": url, "log_level": "ERROR"}
    DBOS(config=config)
    DBOS.launch()

    async def ask(by: str, n: int) -> None:
        handle = await DBOS.start_workflow_async(begun, by, time.perf_counter(), n)
        if by != "probe":
            await handle.get_result()

    await print_waits(ask, waited, seconds)
    DBOS.destroy()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[3])))
