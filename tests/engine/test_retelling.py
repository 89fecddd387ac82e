"""A run's life told from its rows."""

from __future__ import annotations

from typing import Any

from understudy.engine.retelling import retold
from understudy.engine.run import Step
from understudy.engine.submission import Asking, new_run
from understudy.operations.morph import morph

RUN = new_run(morph, morph.examples["two photos"], Asking("default"), now=100.0)
ERROR = {"code": "x", "category": "media", "message": "bad", "type": "E", "step": "b"}


def step(key: str, state: Any, **facts: Any) -> Step:
    """A step that began at 101."""
    values: dict[str, Any] = dict.fromkeys(Step._fields)
    values |= {"key": key, "name": key, "kind": "step", "state": state, "attempt": 2}
    values |= {"seq": 0, "change": 0, "started_at": 101.0}
    return Step(**(values | facts))


def told(*steps: Step, **changes: Any) -> list[str]:
    """The events of a run with these steps."""
    lines = retold(RUN._replace(**changes), steps)
    assert {line["run"] for line in lines} == {RUN.id}
    assert all(line["timestamp"].startswith("1970-01-01T00:01:4") for line in lines)
    return [line["event"] for line in lines]


def test_a_queued_run_was_created() -> None:
    """That is all that is known of it."""
    assert told() == ["run_created"]


def test_steps_stand_where_they_ended() -> None:
    """Each with its state: ended, failed for good, to be tried again, waiting for something."""
    steps = (
        step("a", "succeeded", ended_at=104.0, result="1"),
        step("b", "failed", ended_at=103.0, error=ERROR),
        step("c", "retry", due_at=105.0, error=ERROR),
        step("d", "waiting"),
    )
    lines = retold(RUN._replace(started_at=101.0), steps)
    assert [(line["event"], line.get("step")) for line in lines] == [
        *(("run_created", None), ("run_begun", None)),
        *(("step_failed", "c"), ("step_waits", "d"), ("step_failed", "b"), ("step_ended", "a")),
    ]
    assert lines[2]["again_at"] == "1970-01-01T00:01:45.000Z"
    assert lines[3]["until"] is None
    assert (lines[4]["level"], lines[4]["error"], lines[4]["seconds"]) == ("warning", "bad", 2.0)


def test_the_end_says_how() -> None:
    """A failure names its step and category; a run that never began took no time."""
    ended = retold(RUN._replace(status="failed", error=ERROR, ended_at=104.0), ())[-1]
    assert (ended["event"], ended["step"], ended["category"]) == ("run_ended", "b", "media")
    assert "seconds" not in ended
    assert told(status="canceled", cancel_requested_at=102.0, ended_at=103.0) == [
        *("run_created", "cancel_requested", "run_ended")
    ]
