"""One line of a benchmark's report, and how lines are printed."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Row:
    """One line of the report; `met` is None where there is no target."""

    what: str
    value: str
    beside: str = ""
    target: str = ""
    met: bool | None = None


def machine() -> str:
    """What this ran on."""
    cores = len(os.sched_getaffinity(0))
    return (
        f"{platform.system()} {platform.machine()}, {cores} cores, Python {sys.version.split()[0]}"
    )


def show(title: str, rows: Sequence[Row], *, as_json: bool) -> int:
    """Print the rows, aligned for reading or as JSON; 1 if a target was missed."""
    if as_json:
        print(json.dumps({"title": title, "rows": [asdict(row) for row in rows]}, indent=2))
    else:
        print(f"{title}\n")
        widths = [
            max(len(part) for part in column) for column in zip(*map(_parts, rows), strict=True)
        ]
        for row in rows:
            what, value, beside, target = _parts(row)
            verdict = "" if row.met is None else ("met" if row.met else "MISSED")
            print(
                f"{what:{widths[0]}}  {value:>{widths[1]}}  {beside:{widths[2]}}  "
                f"{target:{widths[3]}}  {verdict}".rstrip()
            )
    return int(any(row.met is False for row in rows))


def _parts(row: Row) -> tuple[str, str, str, str]:
    return row.what, row.value, row.beside, row.target
