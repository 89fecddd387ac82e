"""Measures durable steps beside DBOS, in one run, on this machine.

    python bench/durable.py [--json] [--seconds 5]

Each side works in a fresh process on a fresh SQLite file of its own, and does the same: every step
is awaited by itself and answers a small JSON object. `one after another` is one client whose runs
have 200 steps; `300 at once` is 300 clients whose runs have 5. A client begins its next run when
its last one has ended, until the time is up, and every run is brought to its end. What counts is
what this process, which did none of the work, then reads in the files.

DBOS is taken as its documentation has it: `@DBOS.workflow` and `@DBOS.step` on async functions,
`start_workflow_async` and `get_result`, its own SQLite settings, its log at ERROR. The row `WAL` is
the same on a file that was put into WAL mode before.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PEERS = Path(__file__).resolve().parent / "peers"
SYNCHRONOUS = ("OFF", "NORMAL", "FULL", "EXTRA")
PATIENCE = 900.0


@dataclass(frozen=True)
class Work:
    """So many clients, each with runs of so many steps; `target` is how many times DBOS we want."""

    name: str
    clients: int
    steps: int
    target: float


@dataclass(frozen=True)
class Side:
    """Who works: the script, its file, and what to count in it."""

    name: str
    script: str
    file: str
    steps: str
    runs: str
    journal_mode: str = ""


@dataclass(frozen=True)
class Row:
    """What one side did; `rate` is finished steps a second."""

    work: str
    side: str
    rate: float
    steps: int
    runs: int
    seconds: float
    cpu_seconds: float
    journal_mode: str
    synchronous: str
    load: float


WORKS = (
    Work("one after another", clients=1, steps=200, target=5),
    Work("300 at once", clients=300, steps=5, target=50),
)
UNDERSTUDY = Side(
    name="Understudy",
    script="durable_understudy.py",
    file="understudy.db",
    steps="SELECT count(*) FROM steps WHERE state = 'succeeded' AND json_valid(result)",
    runs="SELECT count(*) FROM runs WHERE status = 'succeeded'",
)
DBOS = Side(
    name="DBOS",
    script="durable_dbos.py",
    file="dbos.db",
    steps="SELECT count(*) FROM operation_outputs WHERE output IS NOT NULL AND error IS NULL",
    runs="SELECT count(*) FROM workflow_status WHERE status = 'SUCCESS'",
)
DBOS_WAL = Side("DBOS, WAL", DBOS.script, DBOS.file, DBOS.steps, DBOS.runs, journal_mode="WAL")
SIDES = (UNDERSTUDY, DBOS, DBOS_WAL)


def measure(side: Side, work: Work, seconds: float) -> Row:
    """Let one side work in its own process, then count what it left. Raises if runs are missing."""
    with tempfile.TemporaryDirectory(prefix="durable-") as name:
        folder = Path(name)
        if side.journal_mode:
            with sqlite3.connect(folder / side.file) as connection:
                connection.execute(f"PRAGMA journal_mode={side.journal_mode}")
            connection.close()
        load = os.getloadavg()[0]
        facts = worked(side, work, folder, seconds)
        steps, runs, mode = counted(side, folder)
    if steps != runs * work.steps or runs < work.clients:
        raise SystemExit(f"{side.name}, {work.name}: {runs} runs left {steps} finished steps")
    return Row(
        work=work.name,
        side=side.name,
        rate=steps / facts["seconds"],
        steps=steps,
        runs=runs,
        seconds=facts["seconds"],
        cpu_seconds=facts["cpu"],
        journal_mode=mode,
        synchronous=SYNCHRONOUS[facts["synchronous"]],
        load=load,
    )


def worked(side: Side, work: Work, folder: Path, seconds: float) -> dict[str, Any]:
    """What the working process says: its seconds, and how its connection is set."""
    numbers = (str(work.clients), str(work.steps), str(seconds))
    done = subprocess.run(
        [sys.executable, PEERS / side.script, folder, *numbers],
        check=True,
        stdout=subprocess.PIPE,
        timeout=PATIENCE,
    )
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def counted(side: Side, folder: Path) -> tuple[int, int, str]:
    """Finished steps, finished runs and the journal mode, read from the file."""
    connection = sqlite3.connect(f"file:{folder / side.file}?mode=ro", uri=True)
    try:
        return (
            connection.execute(side.steps).fetchone()[0],
            connection.execute(side.runs).fetchone()[0],
            connection.execute("PRAGMA journal_mode").fetchone()[0],
        )
    finally:
        connection.close()


def fsync_milliseconds() -> float:
    """The median cost of one small append that is durable, where the files lie."""
    costs = []
    with tempfile.TemporaryFile() as file:
        for _ in range(50):
            started = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            costs.append(time.perf_counter() - started)
    return 1000 * statistics.median(costs)


def about() -> dict[str, Any]:
    """What this ran on, and when."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, "
        f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "dbos": importlib.metadata.version("dbos"),
        "fsync_ms": round(fsync_milliseconds(), 3),
    }


def ratios(rows: list[Row]) -> dict[str, dict[str, float]]:
    """For each work, how many times a peer's rate is ours."""
    rates = {(row.work, row.side): row.rate for row in rows}
    return {
        work.name: {
            side.name: rates[work.name, UNDERSTUDY.name] / rates[work.name, side.name]
            for side in (DBOS, DBOS_WAL)
        }
        for work in WORKS
    }


def print_report(rows: list[Row], facts: dict[str, Any]) -> None:
    """Rows aligned for reading."""
    print(
        f"Durable steps on {facts['machine']}, Python {facts['python']}, SQLite {facts['sqlite']}, "
        f"DBOS {facts['dbos']}, fsync {facts['fsync_ms']:.2f} ms, {facts['date']}\n"
    )
    for row in rows:
        print(
            f"{row.work:18} {row.side:10} {row.rate:10,.0f} steps/s  "
            f"{row.steps:7,} steps in {row.seconds:5.1f} s, {row.cpu_seconds:5.1f} s of CPU, "
            f"{row.journal_mode}, synchronous={row.synchronous}, load before {row.load:.1f}"
        )
    print()
    for work in WORKS:
        for side, times in ratios(rows)[work.name].items():
            verdict = "met" if times >= work.target else "MISSED"
            print(f"{work.name:18} beside {side:10} {times:7.1f}x  >= {work.target:g}x  {verdict}")


def main() -> int:
    """Print the report; 1 if a target was missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print rows as JSON")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each client goes on")
    options = parser.parse_args()
    facts = about()
    rows = [measure(side, work, options.seconds) for work in WORKS for side in SIDES]
    times = ratios(rows)
    if options.json:
        report = {**facts, "rows": [asdict(row) for row in rows], "ratios": times}
        print(json.dumps(report, indent=2))
    else:
        print_report(rows, facts)
    return int(any(min(times[work.name].values()) < work.target for work in WORKS))


if __name__ == "__main__":
    sys.exit(main())
