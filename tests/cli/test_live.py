"""Runs are shown while they move: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from understudy.cli.live import Bars, Lines, live, progress_on, state
from understudy.engine.run import Run
from understudy.engine.submission import Asking, new_run
from understudy.operations.morph import morph

RUN = new_run(morph, morph.examples["two photos"], Asking("default"), now=0.0)._replace(
    id="run_1", status="running", claim="c", worker="w", wake_at=None
)


def moved(done: float, total: float, **changes: Any) -> Run:
    """The run, further on."""
    progress = {"done": done, "total": total, "note": "pairs"}
    return RUN._replace(progress=progress, **changes)


def test_a_state_says_what_the_run_is_doing() -> None:
    """Progress while it runs, the cause while it waits, else the plain state."""
    waits = {"kind": "signal", "text": "the signal 'paid'", "until": None}
    assert state(RUN) == "running"
    assert state(moved(3, 12)) == "3/12 pairs"
    waiting = RUN._replace(status="waiting", waiting_for=waits)
    assert state(waiting) == "waiting for the signal 'paid'"


def test_lines_are_printed_for_changes_only(capsys: pytest.CaptureFixture[str]) -> None:
    """A run that reports a thousand times prints about twenty lines, all on stderr."""
    lines = Lines()
    for done in range(1001):
        lines.show(moved(done, 1000))
        lines.show(moved(done, 1000))
    lines.show(RUN._replace(status="succeeded"))
    printed = capsys.readouterr()
    assert printed.out == ""
    told = printed.err.splitlines()
    assert told[0] == "run_1 morph: 0/1000 pairs"
    assert told[-2:] == ["run_1 morph: 1000/1000 pairs", "run_1 morph: succeeded"]
    assert len(told) == 22


def test_a_pipe_gets_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Where stderr is no terminal there are no bars and no escapes."""
    with live() as display:
        display.show(RUN)
        display.note("\x1b[31mhello")
    assert capsys.readouterr().err == "run_1 morph: running\n\\x1b[31mhello\n"


def test_a_terminal_gets_a_bar_with_rate_and_no_stranger_s_escapes() -> None:
    """The bar names the operation, how far it is and how fast; hostile notes are shown as codes."""
    now = [0.0]
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=120, color_system=None)
    progress = progress_on(console, get_time=lambda: now[0])
    with progress:
        bars = Bars(progress)
        for done in range(5):
            now[0] += 2.0
            bars.show(moved(done, 12))
        bars.note("\x1b[2Jcleared")
        bars.show(moved(12, 12)._replace(status="succeeded"))
    shown = stream.getvalue()
    assert "morph" in shown
    assert "4/12 pairs" in shown or "succeeded" in shown
    assert "30.0/min" in shown or "/s" in shown
    assert "\x1b[2J" not in shown
    assert "\\x1b[2Jcleared" in shown
