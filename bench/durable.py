"""Measures durable steps beside DBOS, in one run, on this machine.

    python bench/durable.py [--json] [--seconds 5]

Each side works in a fresh process on a fresh database of its own, and does the same: every step
is awaited by itself and answers a small JSON object. `one after another` is one client whose runs
have 200 steps; `300 at once` is 300 clients whose runs have 5. A client begins its next run when
its last one has ended, until the time is up, and every run is brought to its end. What counts is
what this process, which did none of the work, then reads in the database.

DBOS is taken as its documentation has it: `@DBOS.workflow` and `@DBOS.step` on async functions,
`start_workflow_async` and `get_result`, its own settings of the database, its log at ERROR. The
row `WAL` is the same on a SQLite file that was put into WAL mode before. PostgreSQL is one server
for both, with `fsync` and `synchronous_commit` on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from bench.databases import POSTGRESQL, SQLITE, Databases, Fresh, about, said  # noqa: E402 - as above

PEERS = Path(__file__).resolve().parent / "peers"
SYNCHRONOUS = ("OFF", "NORMAL", "FULL", "EXTRA")
PATIENCE = 900.0


@dataclass(frozen=True)
class Work:
    """So many clients, each with runs of so many steps."""

    name: str
    clients: int
    steps: int


@dataclass(frozen=True)
class Side:
    """Who works, on what, and what to count there."""

    name: str
    database: str
    script: str
    steps: str
    runs: str
    journal_mode: str = ""


@dataclass(frozen=True)
class Row:
    """What one side did; `rate` is finished steps a second."""

    work: str
    side: str
    database: str
    rate: float
    steps: int
    runs: int
    seconds: float
    cpu_seconds: float
    durability: str
    load: float


@dataclass(frozen=True)
class Ratio:
    """How many times a peer's rate is ours; `target` is None where there is none."""

    work: str
    database: str
    peer: str
    times: float
    target: float | None

    @property
    def met(self) -> bool:
        """Whether that is as much as we want."""
        return self.target is None or self.times >= self.target


ALONE = Work("one after another", clients=1, steps=200)
TOGETHER = Work("300 at once", clients=300, steps=5)
WORKS = (ALONE, TOGETHER)

_OURS = (
    "durable_understudy.py",
    "SELECT count(*) FROM steps WHERE name = 'add' AND state = 'succeeded' AND result LIKE '{%}'",
    "SELECT count(*) FROM runs WHERE status = 'succeeded' AND operation = 'count'",
)


def _theirs(schema: str) -> tuple[str, str, str]:
    steps, runs = f"{schema}operation_outputs", f"{schema}workflow_status"
    return (
        "durable_dbos.py",
        f"SELECT count(*) FROM {steps} WHERE output IS NOT NULL AND error IS NULL",
        f"SELECT count(*) FROM {runs} WHERE status = 'SUCCESS'",
    )


SIDES = (
    Side("Understudy", SQLITE, *_OURS),
    Side("DBOS", SQLITE, *_theirs("")),
    Side("DBOS, WAL", SQLITE, *_theirs(""), journal_mode="WAL"),
    Side("Understudy", POSTGRESQL, *_OURS),
    Side("DBOS", POSTGRESQL, *_theirs("dbos.")),
)
TARGETS = {
    (ALONE.name, SQLITE, "DBOS"): 8.0,
    (ALONE.name, SQLITE, "DBOS, WAL"): 5.0,
    (TOGETHER.name, SQLITE, "DBOS"): 100.0,
    (TOGETHER.name, SQLITE, "DBOS, WAL"): 50.0,
    (TOGETHER.name, POSTGRESQL, "DBOS"): 30.0,
}


def measure(databases: Databases, side: Side, work: Work, seconds: float) -> Row:
    """Let one side work in its own process, then count what it left. Raises if runs are missing."""
    with databases.fresh(side.database, side.journal_mode) as fresh:
        load = os.getloadavg()[0]
        facts = worked(side, work, fresh, seconds)
        steps, runs = fresh.ask(side.steps), fresh.ask(side.runs)
        durability = how_durable(fresh, facts["synchronous"])
    if steps != runs * work.steps or runs < work.clients:
        raise SystemExit(f"{side.name}, {work.name}: {runs} runs left {steps} finished steps")
    return Row(
        work=work.name,
        side=side.name,
        database=side.database,
        rate=steps / facts["seconds"],
        steps=steps,
        runs=runs,
        seconds=facts["seconds"],
        cpu_seconds=facts["cpu"],
        durability=durability,
        load=load,
    )


def worked(side: Side, work: Work, fresh: Fresh, seconds: float) -> dict[str, Any]:
    """What the working process says: its seconds, and how its connection is set."""
    numbers = (str(work.clients), str(work.steps), str(seconds))
    done = subprocess.run(
        [sys.executable, PEERS / side.script, fresh.url, fresh.home, *numbers],
        check=True,
        stdout=subprocess.PIPE,
        timeout=PATIENCE,
    )
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def how_durable(fresh: Fresh, synchronous: int | str) -> str:
    """How the database, and the connection that wrote, are set."""
    if fresh.kind == SQLITE:
        mode = fresh.ask("PRAGMA journal_mode")
        return f"{mode}, synchronous={SYNCHRONOUS[int(synchronous)]}"
    return f"fsync={fresh.ask('SHOW fsync')}, synchronous_commit={synchronous}"


def ratios(rows: list[Row]) -> list[Ratio]:
    """Ours beside each peer, on the same database."""
    rates = {(row.work, row.database, row.side): row.rate for row in rows}
    return [
        Ratio(
            row.work,
            row.database,
            row.side,
            rates[row.work, row.database, "Understudy"] / row.rate,
            TARGETS.get((row.work, row.database, row.side)),
        )
        for row in rows
        if row.side != "Understudy"
    ]


def print_report(rows: list[Row], facts: dict[str, Any]) -> None:
    """Rows aligned for reading."""
    print(f"Durable steps on {said(facts)}\n")
    for row in rows:
        print(
            f"{row.work:18} {row.database:10} {row.side:10} {row.rate:9,.0f} steps/s  "
            f"{row.steps:7,} steps in {row.seconds:4.1f} s, {row.cpu_seconds:4.1f} s of CPU, "
            f"{row.durability}, load before {row.load:.1f}"
        )
    print()
    for ratio in ratios(rows):
        verdict = "met" if ratio.met else "MISSED"
        target = "" if ratio.target is None else f">= {ratio.target:g}x  {verdict}"
        line = f"{ratio.work:18} {ratio.database:10} beside {ratio.peer:10} {ratio.times:6.1f}x"
        print(f"{line}  {target}".rstrip())


def main() -> int:
    """Print the report; 1 if a target was missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print rows as JSON")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each client goes on")
    options = parser.parse_args()
    with Databases() as databases:
        facts = about(databases)
        rows = [measure(databases, side, work, options.seconds) for work in WORKS for side in SIDES]
    found = ratios(rows)
    if options.json:
        report = {**facts, "rows": [asdict(row) for row in rows]}
        print(json.dumps({**report, "ratios": [asdict(ratio) for ratio in found]}, indent=2))
    else:
        print_report(rows, facts)
    return int(not all(ratio.met for ratio in found))


if __name__ == "__main__":
    sys.exit(main())
