"""Measures the server's submissions beside a plain FastAPI app, and what watchers cost.

    python bench/serving.py [--json] [--seconds 5]

`submissions`: 32 connections ask for runs, each its next as soon as its last was accepted; both
sides are one uvicorn process on a fresh durable database, and each answer waits for the disk. The
peer validates the same body and commits one plain INSERT per request
(bench/peers/serving_plain.py). Ours takes runs on without driving them, so that only the way in is
compared. `watchers`: 1,000 event streams of a waiting run; what they add to the server's memory,
and what they do to the 99th percentile of 50 submissions a second.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from bench.databases import POSTGRESQL, SQLITE, Databases, Fresh, about, said  # noqa: E402 - as above
from bench.http_load import HOST, Load, ask, free_port, listening, load, post  # noqa: E402
from bench.report import Row, show  # noqa: E402

PEERS = Path(__file__).resolve().parent / "peers"
CLIENTS = 32
WATCHERS = 1_000
PACED = 50
"""Submissions a second beside the watchers."""


def submission() -> bytes:
    """One asking."""
    return post("/v1/runs", {"operation": "note", "input": {"text": "hello"}})


def ours(fresh: Fresh, port: int) -> list[str]:
    """The command of our server, without a worker."""
    understudy = [sys.executable, "-m", "understudy", "--home", str(fresh.home)]
    load_ = ["--load", str(PEERS / "serving_operation.py")]
    return [*understudy, *load_, "serve", "--port", str(port), "--no-worker"]


def plain(fresh: Fresh, port: int) -> list[str]:
    """The command of the peer."""
    return [sys.executable, str(PEERS / "serving_plain.py"), fresh.url, str(port)]


@contextlib.asynccontextmanager
async def served(
    fresh: Fresh, command: Callable[[Fresh, int], list[str]]
) -> AsyncIterator[tuple[int, int]]:
    """A server on a database: its port and its process id."""
    port = free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "UNDERSTUDY_DATABASE_URL": fresh.url,
        "UNDERSTUDY_WATCHERS": str(WATCHERS + 100),
        "UNDERSTUDY_KEY_PER_MINUTE": "100000000",
        "UNDERSTUDY_KEY_AT_ONCE": "100000",
    }
    process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
        command(fresh, port),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await listening(port)
        yield port, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


async def submissions(
    databases: Databases, kind: str, command: Callable[[Fresh, int], list[str]], seconds: float
) -> Load:
    """As many submissions as one process takes."""
    with databases.fresh(kind) as fresh:
        async with served(fresh, command) as (port, _):
            await load(port, submission, clients=CLIENTS, seconds=1.0)
            seen = await load(port, submission, clients=CLIENTS, seconds=seconds)
        if set(seen.statuses) != {202}:
            raise SystemExit(f"{kind}: answers were {seen.statuses}")
        return seen


async def paced(port: int, seconds: float) -> Load:
    """Submissions at a rate that leaves the server time."""
    seen = Load()
    started = time.perf_counter()
    reader, writer = await asyncio.open_connection(HOST, port)
    for number in range(int(PACED * seconds)):
        await asyncio.sleep(max(0.0, started + number / PACED - time.perf_counter()))
        began = time.perf_counter()
        await ask(reader, writer, submission())
        seen.took.append(time.perf_counter() - began)
    writer.close()
    seen.seconds = time.perf_counter() - started
    return seen


async def watchers(databases: Databases, seconds: float) -> list[Row]:
    """What event streams cost."""
    with databases.fresh(SQLITE) as fresh:
        async with served(fresh, ours) as (port, process):
            once = await load(port, submission, clients=1, seconds=0.2)
            await paced(port, 1.0)
            before = resident(process)
            idle = await paced(port, seconds)
            streams = await asyncio.gather(*(watch(port, once.ids[0]) for _ in range(WATCHERS)))
            watched = await paced(port, seconds)
            after = resident(process)
            for writer in streams:
                writer.close()
    grown = (after - before) / 1e6
    times = watched.quantile(0.99) / idle.quantile(0.99)
    return [
        Row(
            f"{WATCHERS:,} watchers: memory",
            f"{grown:.0f} MB",
            f"{1000 * grown / WATCHERS:.0f} kB each",
            "<= 200 MB",
            grown <= 200,
        ),
        Row(
            f"{WATCHERS:,} watchers: p99 of submissions",
            f"{1000 * watched.quantile(0.99):.1f} ms",
            f"{times:.2f}x of {1000 * idle.quantile(0.99):.1f} ms without",
            "<= 2x",
            times <= 2,
        ),
    ]


async def watch(port: int, run_id: str) -> asyncio.StreamWriter:
    """Open an event stream and see its first event."""
    reader, writer = await asyncio.open_connection(HOST, port, limit=2**14)
    head = f"GET /v1/runs/{run_id}/events HTTP/1.1\r\nHost: {HOST}\r\n"
    writer.write(f"{head}Accept: text/event-stream\r\n\r\n".encode())
    await reader.readuntil(b"\nid:")
    return writer


def resident(process: int) -> int:
    """Bytes of memory that a process holds now."""
    pages = Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


async def rows_of(databases: Databases, seconds: float) -> list[Row]:
    """The whole report."""
    rows = []
    for kind in (SQLITE, POSTGRESQL):
        own = await submissions(databases, kind, ours, seconds)
        peer = await submissions(databases, kind, plain, seconds)
        times = own.rate / peer.rate
        for name, seen in (("Understudy", own), ("plain INSERT", peer)):
            quantiles = f"p50 {1000 * seen.quantile(0.5):.1f} ms, p99"
            rows.append(
                Row(
                    f"submissions, {kind}: {name}",
                    f"{seen.rate:,.0f}/s",
                    f"{quantiles} {1000 * seen.quantile(0.99):.1f} ms",
                )
            )
        rows.append(
            Row(f"submissions, {kind}: beside it", f"{times:.2f}x", "", ">= 0.8x", times >= 0.8)
        )
    return rows + await watchers(databases, seconds)


def main() -> int:
    """Print the report; 1 if a target was missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print rows as JSON")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    options = parser.parse_args()
    with Databases() as databases:
        title = f"Serving on {said(about(databases))}"
        rows = asyncio.run(rows_of(databases, options.seconds))
    return show(title, rows, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
