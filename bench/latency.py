"""Measures how long a run waits for its first step, beside DBOS, in one run, on this machine.

    python bench/latency.py [--json] [--seconds 5]

From the call of submit to the first line of the first step's body, both in one process: what a
caller sees of the engine before its own work begins. `idle` asks for one run at a time and lets
the engine rest between them; `loaded` asks for 20 a second while 300 clients keep a run of 5 steps
each in flight. Each side works in a fresh process on a fresh database, durable as in
bench/durable.py.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from bench.databases import POSTGRESQL, SQLITE, Databases, about, said  # noqa: E402 - as above
from bench.report import Row, show  # noqa: E402

PEERS = Path(__file__).resolve().parent / "peers"
SIDES = (("Understudy", "latency_understudy.py"), ("DBOS", "latency_dbos.py"))
TARGET = 0.005
PATIENCE = 300.0

Waits = dict[str, list[float]]


def measure(databases: Databases, kind: str, script: str, seconds: float) -> Waits:
    """The seconds that first steps waited: `idle` and `loaded`."""
    with databases.fresh(kind) as fresh:
        done = subprocess.run(
            [sys.executable, PEERS / script, fresh.url, fresh.home, str(seconds)],
            check=True,
            stdout=subprocess.PIPE,
            timeout=PATIENCE,
        )
    facts = json.loads(done.stdout.splitlines()[-1])
    if len(facts["loaded"]) != facts["probes"]:
        raise SystemExit(f"{script}: {len(facts['loaded'])} of {facts['probes']} probes began")
    return {"idle": facts["idle"], "loaded": facts["loaded"]}


def rows_of(kind: str, when: str, ours: Sequence[float], theirs: Sequence[float]) -> list[Row]:
    """Both sides' median and 99th percentile; the target is for ours when idle."""
    name = f"{when}, {kind}"
    middle = statistics.median(ours)
    times = statistics.median(theirs) / middle
    wanted = when == "idle"
    return [
        Row(
            f"{name}: Understudy",
            said_of(ours),
            f"{times:.1f}x less than DBOS at p50",
            "p50 < 5 ms" if wanted else "",
            middle < TARGET if wanted else None,
        ),
        Row(f"{name}: DBOS", said_of(theirs)),
    ]


def said_of(waits: Sequence[float]) -> str:
    """Median and 99th percentile in milliseconds."""
    p99 = statistics.quantiles(waits, n=100, method="inclusive")[98]
    return f"p50 {1000 * statistics.median(waits):8.2f} ms   p99 {1000 * p99:8.2f} ms"


def main() -> int:
    """Print the report; 1 if a target was missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print rows as JSON")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long the load lasts")
    options = parser.parse_args()
    rows: list[Row] = []
    with Databases() as databases:
        title = f"Submit to first step on {said(about(databases))}"
        for kind in (SQLITE, POSTGRESQL):
            waits = {
                name: measure(databases, kind, script, options.seconds) for name, script in SIDES
            }
            for when in ("idle", "loaded"):
                rows += rows_of(kind, when, *(waits[name][when] for name, _ in SIDES))
    return show(title, rows, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
