"""Measures the engine beside a million runs that sleep, or that have ended.

    python bench/large.py [--json] [--most 1000000]

Each line works in a fresh process on a database of its own, filled by SQL with the rows that the
engine would have written: a run and its step of `sleep`, due tomorrow. `ready` is from the start of
the Python process until a first new run has ended; `waking 1,000` is from the moment that as many
runs, taken from all over the table, are due by the clock until all of them have ended (the median
of five times); memory is the worker's peak. `claim` is one claim of 200 due runs beside ended
ones. `flat` compares the most rows with the fewest.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from bench.databases import POSTGRESQL, SQLITE, Databases, Fresh, about, said  # noqa: E402 - as above
from bench.filling import finish, let_wake, migrate, park  # noqa: E402
from bench.report import Row, show  # noqa: E402

SCRIPT = Path(__file__).resolve().parent / "peers" / "large_understudy.py"
PATIENCE = 300.0
WOKEN = 1000
FLAT = 1.5
MILLION = 1_000_000
SIZES = {SQLITE: (10_000, 100_000, MILLION), POSTGRESQL: (100_000, MILLION)}
DUE = (6.0, 8.0, 10.0, 12.0, 14.0)
"""Seconds after the start of the process: the worker is ready by then, or the run fails."""


@dataclass(frozen=True)
class Parked:
    """What a worker cost beside so many parked runs. Seconds and bytes."""

    count: int
    ready: float
    waking: float
    memory: int
    disk: float


def worked(fresh: Fresh, *words: str) -> dict[str, Any]:
    """What a fresh process says of its work on this database."""
    done = subprocess.run(
        [sys.executable, SCRIPT, fresh.url, fresh.home, *words],
        check=True,
        stdout=subprocess.PIPE,
        timeout=PATIENCE,
    )
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def parked(databases: Databases, kind: str, count: int) -> Parked:
    """Start a worker beside so many parked runs, and let some of them wake."""
    with databases.fresh(kind) as fresh:
        migrate(fresh)
        empty = fresh.size()
        park(fresh, count)
        disk = (fresh.size() - empty) / count
        started = time.time()
        dues = [started + seconds + count / MILLION for seconds in DUE]
        let_wake(fresh, count, WOKEN, dues)
        started = time.time()
        facts = worked(fresh, "wake", str(started), ",".join(map(str, dues)))
    waking = statistics.median(facts["took"])
    return Parked(count, facts["ready"], waking, facts["memory"], disk)


def claiming(databases: Databases, kind: str, count: int) -> float:
    """The median seconds of a claim of 200 runs beside so many that have ended."""
    with databases.fresh(kind) as fresh:
        migrate(fresh)
        finish(fresh, count)
        took: list[float] = worked(fresh, "claim")["took"]
    return statistics.median(took)


def rows_of(kind: str, found: Sequence[Parked], claims: dict[int, float]) -> list[Row]:
    """The report of one database."""
    rows = []
    for each in found:
        name = f"{kind}, {each.count:,} parked"
        most = each.count >= MILLION
        megabytes = each.memory / 1e6
        rows += [
            Row(
                f"{name}: ready",
                f"{each.ready:.2f} s",
                "",
                "<= 10 s" if most else "",
                each.ready <= 10 if most else None,
            ),
            Row(
                f"{name}: memory",
                f"{megabytes:.0f} MB",
                "",
                "<= 1 GB" if most else "",
                megabytes <= 1000 if most else None,
            ),
            Row(
                f"{name}: waking 1,000",
                f"{1000 * each.waking:.0f} ms",
                f"{1e6 * each.waking / WOKEN:.0f} us a run",
            ),
            Row(f"{name}: disk", f"{each.disk:.0f} bytes", "a run, with its step and indexes"),
        ]
    few, many = found[0], found[-1]
    rows.append(flat(f"{kind}: waking", (few.count, few.waking), (many.count, many.waking)))
    rows += [
        Row(f"{kind}, {count:,} ended: claim of 200", f"{1000 * seconds:.2f} ms")
        for count, seconds in claims.items()
    ]
    fewest, *_, most_ended = sorted(claims.items())
    rows.append(flat(f"{kind}: claims", fewest, most_ended))
    return rows


def flat(what: str, few: tuple[int, float], many: tuple[int, float]) -> Row:
    """How much more it costs with the most rows."""
    times = many[1] / few[1]
    beside = f"{many[0]:,} beside {few[0]:,}"
    return Row(f"{what}, flat", f"{times:.2f}x", beside, f"<= {FLAT}x", times <= FLAT)


def main() -> int:
    """Print the report; 1 if a target was missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print rows as JSON")
    parser.add_argument("--most", type=int, default=MILLION, help="leave out what is larger")
    options = parser.parse_args()
    rows: list[Row] = []
    with Databases() as databases:
        title = f"Many runs on {said(about(databases))}"
        for kind, sizes in SIZES.items():
            kept = [size for size in sizes if size <= options.most]
            found = [parked(databases, kind, size) for size in kept]
            claims = {size: claiming(databases, kind, size) for size in (10_000, kept[-1])}
            rows += rows_of(kind, found, claims)
    return show(title, rows, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
