"""What `understudy top` shows, at 80 columns and at 120, and as JSON."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from understudy.cli.dashboard import Snapshot, age, document, tables
from understudy.engine.crowd import Crowd
from understudy.engine.registry import Registry
from understudy.engine.run import QueueRow, WorkerRow
from understudy.testing.conformance.rows import NOW, a_run

INFO: dict[str, Any] = {
    "host": "a-host-with-a-name-of-forty-characters-xx",
    "pid": 4_194_303,
    "writer": {
        "commits": 10,
        "units": 20,
        "queued": 1200,
        "commits_per_s": 450.5,
        "units_per_s": 19_000.25,
        "mean_batch": 42.5,
        "commit_ms": 2.55,
    },
}
RUN = "run_01kafy0000aaaaaaaaaaaaaaaa"


def seen(queues: int = 1, **info: Any) -> Snapshot:
    """One worker, some queues and three runs."""
    worker = WorkerRow("worker_01kafy0000bbbbbbbbbbbbbbbb", NOW + 7, NOW - 7300, info, 12)
    lost = worker._replace(name="worker_01kafy0000cccccccccccccccc", lease_until=NOW - 3, info={})
    crowded = [QueueRow("film", f"key {n}", n, 0, 1, 2, NOW - 90) for n in range(queues)]
    progress = {"done": 3, "total": 12, "note": "\x1b[2Jpairs"}
    waits = {"kind": "signal", "text": "the signal 'paid'", "until": None}
    runs = [
        a_run(RUN, status="running", progress=progress, claim="c", worker="w"),
        a_run("run_2", status="waiting", waiting_for=waits, wake_at=None),
        a_run("run_3", wake_at=NOW + 60),
    ]
    return Snapshot(
        "/data/x.db", NOW, Crowd(Registry([], {}), [worker, lost], crowded, now=NOW), runs
    )


def shown(snapshot: Snapshot, width: int) -> list[str]:
    """The lines on a terminal of so many columns."""
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=True, color_system=None)
    console.print(tables(snapshot, width))
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_it_fits_the_terminal_and_says_all(width: int) -> None:
    """No number is cut, whatever the names; a stranger's escapes are shown as codes."""
    lines = shown(seen(**INFO), width)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= width
    assert "\x1b" not in text
    assert "1 worker; runs: 1 driven, 0 due, 0 held, 2 parked" in text
    worker = next(line for line in lines if "4194303" in line)
    assert worker.split()[-8:] == ["2h", "7s", "12", "450", "19000", "42", "2.5", "1200"]
    assert ("a-host-with-a…" in text) == (width == 80)
    assert sum("lost" in line for line in lines) == 1
    assert "3/12 \\x1b[2Jpairs" in text
    assert "the signal 'paid'" in text
    assert "its time, 2027-01-15T08:01:00Z" in text
    assert (RUN in text) == (width >= 100)
    assert "…aaaaaaa film" in text or width >= 100


def test_the_fullest_queues_come_first_and_the_rest_are_counted() -> None:
    """A thousand keys do not push the runs off the screen."""
    lines = shown(seen(queues=100, **INFO), 80)
    rows = [line.split()[3] for line in lines if line.startswith("film      key")]
    assert rows == [str(n) for n in range(99, 87, -1)]
    assert "… and 88 more" in lines


def test_a_script_gets_everything() -> None:
    """The JSON has whole ids, all queues, and what a worker says of its writer."""
    told = document(seen(queues=100, **INFO))
    assert told["workers"][0]["writer"] == INFO["writer"]
    assert told["workers"][0]["lease_left"] == 7
    assert len(told["queues"]) == 100
    assert told["queues"][0]["oldest_due"] == "2027-01-15T07:58:30.000Z"
    assert [run["id"] for run in told["runs"]] == [RUN, "run_2", "run_3"]
    assert told["runs"][2]["waiting_for"]["kind"] == "time"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0s"), (59, "59s"), (150, "2m"), (7300, "2h"), (400_000, "5d")],
)
def test_an_age_is_short(seconds: float, words: str) -> None:
    """One number and one letter."""
    assert age(seconds) == words
