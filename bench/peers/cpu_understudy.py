"""The work of bench/cpu.py, in this process: 300 clients with runs of 5 steps.

    python bench/peers/cpu_understudy.py URL HOME SECONDS [profiled]

It prints the CPU seconds of each thread by the thread's own clock; with `profiled`, besides, how
they divide. A unit of work runs in the writer's thread, and so reads that thread's clock.
"""

from __future__ import annotations

import asyncio
import cProfile
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from bench.attribution import Parts, Sampler, profiler, shares  # noqa: E402
from bench.peers.counting import count, ended  # noqa: E402 - loading this file loads `count`

from understudy.app import App  # noqa: E402 - the sources beside this file, installed or not
from understudy.loop import run  # noqa: E402
from understudy.settings import Settings  # noqa: E402

CLIENTS, STEPS = 300, 5
REST = "the rest"

LOOP: Parts = (
    ("the operation and its steps", ("bench/peers",)),
    ("JSON and its checks", ("codec.py", "pydantic", "json")),
    ("submitting", ("engine/engine.py", "submission.py", "operation.py", "ids.py", "base64")),
    ("journal: rows and queueing", ("engine/journals", "understudy/db")),
    ("context, replay, driving", ("understudy",)),
    ("asyncio", ("asyncio",)),
)
WRITER: Parts = (
    ("SQL, run and committed", ("db/tx.py", "db/sqlite.py", "db/postgres", "psycopg")),
    (
        "rows and statements",
        ("journals", "db/statement.py", "engine/run.py", "json", "collections"),
    ),
    ("batches, answers, hand-over", ("understudy", "asyncio")),
)


@asynccontextmanager
async def profiled(app: App, *, wanted: bool, said: dict[str, Any]) -> AsyncIterator[None]:
    """Look at both threads inside the block; how their time divides then stands in `said`."""
    if not wanted:
        yield
        return
    loop, writer = Sampler(LOOP, REST), profiler()
    await app.database.write(lambda _: _look_at_writer(writer))
    loop.start()
    yield
    loop.stop()
    await app.database.write(lambda _: writer.disable())
    said["loop_parts"] = dict(loop.found)
    said["writer_parts"] = shares(writer, WRITER, REST)


def _look_at_writer(profile: cProfile.Profile) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPROF})  # that one is for the main thread
    profile.enable()


async def clocks(app: App) -> tuple[float, float, float]:
    """CPU seconds of the event loop's thread, the writer's, and the whole process."""
    writer = await app.database.write(lambda _: time.thread_time())
    return time.thread_time(), writer, time.process_time()


async def main(settings: Settings, seconds: float, *, wanted: bool) -> None:
    """Work, and print what it cost."""
    said: dict[str, Any] = {}
    runs = 0
    async with App.open(settings) as app, app.worker():

        async def client(until: float) -> None:
            nonlocal runs
            while time.perf_counter() < until:
                await app.engine.submit(count.name, {"n": STEPS}, tenant=app.tenant)
                await ended.get()
                runs += 1

        async def work(seconds: float) -> None:
            until = time.perf_counter() + seconds
            await asyncio.gather(*(client(until) for _ in range(CLIENTS)))

        await work(0.5)  # what is done once in a process is not part of a step
        before, runs, started = await clocks(app), 0, time.perf_counter()
        async with profiled(app, wanted=wanted, said=said):
            await work(seconds)
        elapsed, after = time.perf_counter() - started, await clocks(app)
    loop, writer, process = (late - early for late, early in zip(after, before, strict=True))
    said |= {"steps": runs * STEPS, "seconds": elapsed}
    said |= {"loop": loop, "writer": writer, "others": max(0.0, process - loop - writer)}
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    told = Settings(database_url=sys.argv[1], home=Path(sys.argv[2]), load=__file__)
    run(main(told, float(sys.argv[3]), wanted=len(sys.argv) > 4))
