"""A run's steps as bars."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from understudy.engine.run import Run, Step
from understudy.web.dashboard.run import events
from understudy.web.dashboard.waterfall import Group, Line, waterfall

START = 1_800_000_000.0
ERROR = {"code": "error", "category": "internal", "message": "no", "type": "E", "step": None}


def run(**how: Any) -> Run:
    """A run that was asked for at `START`."""
    blank = dict.fromkeys(Run._fields)
    known = {
        "id": "run_1",
        "tenant": "t",
        "operation": "draw",
        "version": 1,
        "input": "{}",
        "status": "running",
        "attempt": 1,
        "created_at": START,
        "started_at": START + 1,
    }
    return Run(**(blank | known | how))  # type: ignore[arg-type]


def step(seq: int, name: str = "bit", **how: Any) -> Step:
    """A step that took a second."""
    known: dict[str, Any] = {
        "key": f"{name}#{seq}",
        "seq": seq,
        "name": name,
        "kind": "step",
        "state": "succeeded",
        "attempt": 1,
        "due_at": None,
        "result": "1",
        "error": None,
        "started_at": START + seq,
        "ended_at": START + seq + 1,
        "change": 1,
    }
    return Step(**(known | how))


def test_bars_lie_where_the_time_went() -> None:
    """Positions are shares of the whole: here four seconds, of which each step takes one."""
    found = waterfall(
        run(status="succeeded", ended_at=START + 4), [step(1, "a"), step(2, "b")], START + 99
    )
    assert found.seconds == 4
    queue, first, second = found.rows
    assert isinstance(queue, Line)
    assert (queue.name, queue.bar.width, queue.bar.tone) == ("in the queue", 25, "idle")
    assert isinstance(first, Line)
    assert (first.bar.x, first.bar.width, first.bar.tone, first.took) == (25, 25, "good", 1)
    assert isinstance(second, Line)
    assert second.bar.x == 50
    assert found.ticks == ("0", "1.0 s", "2.0 s", "3.0 s", "4.0 s")


def test_steps_of_one_name_are_one_row() -> None:
    """A map of thousands is a line that opens; what failed in it is counted and shown."""
    many = [step(seq, ended_at=START + 5000) for seq in range(1, 3000)]
    many[7] = many[7]._replace(state="failed", error=ERROR, result=None)
    found = waterfall(run(), many, START + 6000)
    group = found.rows[1]
    assert isinstance(group, Group)
    assert group.note == "2999 steps, 1 failed"
    assert len(group.lines) + group.more == 2999
    assert len(group.bars) < 400
    assert any(bar.tone == "bad" for bar in group.bars)


def test_what_goes_on_now_has_a_row() -> None:
    """A step that works leaves no row in the journal until it ends; the picture shows it."""
    found = waterfall(run(), [step(1)], START + 10)
    last = found.rows[-1]
    assert isinstance(last, Line)
    assert (last.name, last.bar.tone, last.took, last.opens) == ("working", "busy", None, False)


def test_steps_say_what_is_special() -> None:
    """Waits, retries and their errors can be told from plain steps."""
    found = waterfall(
        run(status="waiting"),
        [
            step(1, "a", kind="wait", state="waiting", ended_at=None, result=None),
            step(2, "b", state="retry", attempt=2, ended_at=None, result=None, error=ERROR),
            step(3, "c", attempt=3),
        ],
        START + 10,
    )
    lines = [row for row in found.rows if isinstance(row, Line)]
    assert [line.note for line in lines] == ["", "wait", "attempt 2 failed", "3 attempts"]
    assert [line.opens for line in lines] == [False, False, True, True]
    assert [line.took for line in lines][1:] == [None, None, 1]


@given(
    st.lists(
        st.tuples(st.floats(-100, 1e6), st.none() | st.floats(0, 1e6), st.sampled_from("ab")),
        max_size=20,
    ),
    st.floats(0, 1e6),
)
def test_no_bar_leaves_the_picture(
    times: list[tuple[float, float | None, str]], later: float
) -> None:
    """Whatever clocks say: every bar has a width and lies between 0 and 100 percent."""
    steps = [
        step(
            seq,
            name,
            started_at=START + began,
            ended_at=None if took is None else START + began + took,
            state="waiting" if took is None else "succeeded",
        )
        for seq, (began, took, name) in enumerate(times)
    ]
    found = waterfall(run(), steps, START + later)
    for row in found.rows:
        for bar in row.bars if isinstance(row, Group) else [row.bar]:
            assert bar.x >= 0
            assert bar.width > 0
            assert bar.x + bar.width <= 100.01


def test_a_run_that_never_began_is_a_picture_too() -> None:
    """Canceled in the queue: one row, or none."""
    found = waterfall(run(status="canceled", started_at=None, ended_at=START), [], START)
    assert found.rows == ()


def test_events_tell_the_story_backwards() -> None:
    """The newest first; equal times keep the order in which things were said."""
    ended = run(
        status="failed",
        user="ann",
        attempt=2,
        cancel_requested_at=START + 8,
        ended_at=START + 9,
        error=ERROR,
    )
    steps = [
        step(1, "a"),
        step(2, "b", state="failed", error=ERROR, result=None),
        step(3, "c", state="retry", ended_at=None, error=ERROR, result=None),
        step(4, "d", kind="wait", state="waiting", ended_at=None, result=None),
    ]
    assert [(event.text, event.more) for event in events(ended, steps)] == [
        ("failed", "no"),
        ("asked to be canceled", ""),
        ("d#4 waits", "wait"),
        ("c#3 is tried again", "attempt 1 failed: no"),
        ("b#2 failed", "no"),
        ("a#1 done", ""),
        ("begun", "attempt 2"),
        ("asked for", "for ann"),
    ]
