"""A run's life as log lines, told from the journal: for what no log file here has, or has kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from understudy.clock import iso
from understudy.engine.run import Run, Step

Line = dict[str, Any]


def retold(run: Run, steps: Sequence[Step]) -> list[Line]:
    """What the journal knows of a run, oldest first, each line as a log would have it."""
    told = [(run.created_at, _line("run_created", operation=run.operation, version=run.version))]
    if run.started_at is not None:
        told.append((run.started_at, _line("run_begun")))
    told += [(step.ended_at or step.started_at, _of_step(step)) for step in steps]
    if run.cancel_requested_at is not None:
        told.append((run.cancel_requested_at, _line("cancel_requested")))
    if run.ended_at is not None:
        told.append((run.ended_at, _end(run, run.ended_at)))
    # What has the same time stays in this order.
    told.sort(key=lambda one: one[0])
    return [{"timestamp": iso(at), **line, "run": run.id} for at, line in told]


def _of_step(step: Step) -> Line:
    error = (step.error or {}).get("message")
    facts: Line = {"step": step.key, "kind": step.kind, "try": step.attempt}
    if step.ended_at is None:
        until = None if step.due_at is None else iso(step.due_at)
        if step.state == "retry":
            return _line("step_failed", level="warning", **facts, error=error, again_at=until)
        return _line("step_waits", **facts, until=until)
    facts["seconds"] = round(step.ended_at - step.started_at, 3)
    if step.state == "failed":
        return _line("step_failed", level="warning", **facts, error=error)
    return _line("step_ended", **facts)


def _end(run: Run, ended_at: float) -> Line:
    facts: Line = {"status": run.status, "attempt": run.attempt}
    if run.started_at is not None:
        facts["seconds"] = round(ended_at - run.started_at, 3)
    if run.error is None:
        return _line("run_ended", **facts)
    facts |= {name: run.error.get(name) for name in ("step", "code", "category")}
    return _line("run_ended", level="warning", **facts, error=run.error.get("message"))


def _line(event: str, *, level: str = "info", **facts: Any) -> Line:
    return {"level": level, "event": event, **facts}
