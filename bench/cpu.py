"""Measures what a durable step costs in CPU time, and how that divides.

    python bench/cpu.py [--json] [--seconds 3]

The work is `300 at once` of bench/durable.py. How much each thread takes is read from the thread's
own CPU clock (so waiting for the disk, for PostgreSQL or for the interpreter lock is not in it),
with no profiler on. How a thread's time divides comes from the same work once more: the event
loop's thread is sampled, the writer's profiled (bench/attribution.py), and the shares that they
show are laid on the clock's figures; good to a microsecond or two. A step's part of its run (a
fifth of submitting, claiming and ending it) is in the figures. What PostgreSQL's own processes use
is not.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from bench.databases import POSTGRESQL, SQLITE, Databases, about, said  # noqa: E402 - as above
from bench.report import Row, show  # noqa: E402

SCRIPT = Path(__file__).resolve().parent / "peers" / "cpu_understudy.py"
PATIENCE = 120.0
THREADS = (("event loop", "loop"), ("writer thread", "writer"))


def worked(databases: Databases, kind: str, seconds: float, *mode: str) -> dict[str, Any]:
    """What the working process says of itself."""
    with databases.fresh(kind) as fresh:
        done = subprocess.run(
            [sys.executable, SCRIPT, fresh.url, fresh.home, str(seconds), *mode],
            check=True,
            stdout=subprocess.PIPE,
            timeout=PATIENCE,
        )
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def rows_of(kind: str, plain: dict[str, Any], profiled: dict[str, Any]) -> list[Row]:
    """Microseconds of one step, by thread and by part of it."""
    steps = plain["steps"]
    total = sum(plain[thread] for thread in ("loop", "writer", "others"))
    rate = f"{steps / plain['seconds']:,.0f} steps/s"
    rows = [Row(f"{kind}: one step", microseconds(total / steps), rate)]
    for name, thread in THREADS:
        whole = plain[thread]
        rows.append(Row(f"  {name}", microseconds(whole / steps), f"{whole / total:5.0%}"))
        parts = profiled[f"{thread}_parts"]
        scale = whole / sum(parts.values())
        for part, seconds in sorted(parts.items(), key=lambda item: -item[1]):
            share = scale * seconds
            rows.append(Row(f"    {part}", microseconds(share / steps), f"{share / total:5.0%}"))
    others = plain["others"]
    rows.append(Row("  other threads", microseconds(others / steps), f"{others / total:5.0%}"))
    return rows


def microseconds(seconds: float) -> str:
    """For the table."""
    return f"{1e6 * seconds:.1f} us"


def main() -> int:
    """Print the report; there is nothing to miss."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print rows as JSON")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each run of it lasts")
    options = parser.parse_args()
    rows: list[Row] = []
    with Databases() as databases:
        title = f"CPU of a durable step on {said(about(databases))}"
        for kind in (SQLITE, POSTGRESQL):
            plain = worked(databases, kind, options.seconds)
            rows += rows_of(kind, plain, worked(databases, kind, options.seconds, "profiled"))
    return show(title, rows, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
