"""Understudy's side of bench/latency.py, in this process.

python bench/peers/latency_understudy.py URL HOME SECONDS
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from bench.peers.asking import print_waits  # noqa: E402
from bench.peers.beginning import begun, ended, waited  # noqa: E402 - loading this file loads it

from understudy.app import App  # noqa: E402 - the sources beside this file, installed or not
from understudy.loop import run  # noqa: E402
from understudy.settings import Settings  # noqa: E402


async def main(settings: Settings, seconds: float) -> None:
    """Be asked on an idle engine, then on a loaded one."""
    async with App.open(settings) as app, app.worker():

        async def ask(by: str, n: int) -> None:
            asked = {"by": by, "at": time.perf_counter(), "n": n}
            await app.engine.submit(begun.name, asked, tenant=app.tenant)
            if by != "probe":
                await ended.acquire()

        await print_waits(ask, waited, seconds)


if __name__ == "__main__":
    told = Settings(database_url=sys.argv[1], home=Path(sys.argv[2]), load=__file__)
    run(main(told, float(sys.argv[3])))
