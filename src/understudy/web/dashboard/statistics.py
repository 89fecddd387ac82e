"""What the overview says of the last day, reckoned from its runs. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from understudy.clock import iso
from understudy.engine.run import Run

HOUR = 3600.0
HOURS = 24


@dataclasses.dataclass(frozen=True)
class Hour:
    """One column of the chart: heights in percent of the tallest, from the ground up."""

    label: str
    succeeded: int
    failed: int
    canceled: int
    heights: tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Row:
    """One operation, or all: counts, and seconds. `waited` is the median before the start."""

    name: str
    runs: int
    succeeded: int
    failed: int
    open: int
    p50: float | None
    p95: float | None
    waited: float | None


@dataclasses.dataclass(frozen=True)
class Day:
    """The last 24 hours. `sampled` is true when there were more runs than were looked at."""

    total: Row
    rows: tuple[Row, ...]
    hours: tuple[Hour, ...]
    sampled: bool


def day(runs: Sequence[Run], now: float, *, sampled: bool) -> Day:
    """What these runs, all of them made in the last day, tell."""
    by_name: dict[str, list[Run]] = {}
    for run in runs:
        by_name.setdefault(run.operation, []).append(run)
    rows = [_row(name, some) for name, some in by_name.items()]
    rows.sort(key=lambda row: (-row.runs, row.name))
    return Day(_row("all", runs), tuple(rows), tuple(_hours(runs, now)), sampled)


def quantile(values: Sequence[float], part: float) -> float | None:
    """The value below which that part of them lies (linear between neighbours); None of none."""
    if not values:
        return None
    ordered = sorted(values)
    place = part * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _row(name: str, runs: Sequence[Run]) -> Row:
    took = [
        run.ended_at - run.started_at
        for run in runs
        if run.status == "succeeded" and run.ended_at is not None and run.started_at is not None
    ]
    waited = [run.started_at - run.created_at for run in runs if run.started_at is not None]
    return Row(
        name=name,
        runs=len(runs),
        succeeded=_many(runs, "succeeded"),
        failed=_many(runs, "failed"),
        open=sum(not run.done for run in runs),
        p50=quantile(took, 0.5),
        p95=quantile(took, 0.95),
        waited=quantile(waited, 0.5),
    )


def _hours(runs: Iterable[Run], now: float) -> Iterable[Hour]:
    first = (now // HOUR - HOURS + 1) * HOUR
    counts = [{"succeeded": 0, "failed": 0, "canceled": 0} for _ in range(HOURS)]
    for run in runs:
        if run.ended_at is not None and run.ended_at >= first:
            counts[min(int((run.ended_at - first) // HOUR), HOURS - 1)][run.status] += 1
    tallest = max(1, *(sum(count.values()) for count in counts))
    for index, count in enumerate(counts):
        parts = (count["succeeded"], count["failed"], count["canceled"])
        heights = (100 * parts[0] / tallest, 100 * parts[1] / tallest, 100 * parts[2] / tallest)
        yield Hour(iso(first + index * HOUR)[11:16], *parts, heights)


def _many(runs: Iterable[Run], status: str) -> int:
    return sum(run.status == status for run in runs)
