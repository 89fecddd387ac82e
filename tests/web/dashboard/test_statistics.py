"""What the overview says of the last day."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.engine.run import Run
from understudy.web.dashboard.statistics import HOURS, day, quantile

NOW = 1_800_000_000.0


def run(status: str, *, ago: float = 60.0, took: float = 2.0, **how: Any) -> Run:
    """A run that ended some seconds ago, after a second in the queue."""
    blank = dict.fromkeys(Run._fields)
    done = status in {"succeeded", "failed", "canceled"}
    known = {
        "operation": "draw",
        "status": status,
        "created_at": NOW - ago - took - 1,
        "started_at": NOW - ago - took,
        "ended_at": NOW - ago if done else None,
    }
    return Run(**(blank | known | how))  # type: ignore[arg-type]


def test_a_day_is_counted_by_operation() -> None:
    """The busiest operation first; durations are of what succeeded only."""
    runs = [
        run("succeeded", took=2),
        run("succeeded", took=4),
        run("failed", took=90),
        run("running"),
        run("canceled", operation="speak", started_at=None),
    ]
    found = day(runs, NOW, sampled=False)
    assert [row.name for row in found.rows] == ["draw", "speak"]
    draw, speak = found.rows
    assert (draw.runs, draw.succeeded, draw.failed, draw.open) == (4, 2, 1, 1)
    assert (draw.p50, draw.waited) == (3, 1)
    assert draw.p95 == pytest.approx(3.9)
    assert (speak.p50, speak.waited) == (None, None)
    assert found.total.runs == 5


def test_hours_are_columns() -> None:
    """Twenty-four of them, the last one this hour; the tallest has all the height."""
    runs = [run("succeeded"), run("succeeded"), run("failed"), run("succeeded", ago=7200)]
    found = day([*runs, run("succeeded", ago=200_000), run("running")], NOW, sampled=True)
    assert len(found.hours) == HOURS
    assert sum(hour.succeeded for hour in found.hours) == 3
    tallest = max(found.hours, key=lambda hour: sum(hour.heights))
    assert (tallest.succeeded, tallest.failed) == (2, 1)
    assert sum(tallest.heights) == pytest.approx(100)
    assert found.sampled


def test_quantiles_lie_between_neighbours() -> None:
    """Nothing of nothing, the one of one, and linear between two."""
    assert quantile([], 0.5) is None
    assert quantile([7], 0.95) == 7
    assert quantile([10, 0], 0.5) == 5
