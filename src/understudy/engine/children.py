"""A run that another run asked for."""

from __future__ import annotations

from typing import Any

from understudy.engine.attempt import known_result
from understudy.engine.consequences import submission_of
from understudy.engine.drive import Drive
from understudy.engine.operation import Operation
from understudy.engine.replay import Call
from understudy.engine.run import Run
from understudy.engine.submission import child_run


async def call(drive: Drive, call: Call, operation: Operation[Any, Any], data: Any) -> Any:
    """Start the child once, wait for its end, remember its result. Raises `StepFailed`."""
    await drive.begin(call)
    started = drive.clock.now() if call.step is None else call.step.started_at
    if call.step is None:
        child = child_run(drive.run, call.key, operation, data, now=started)
        step = call.stands("waiting", started)
        wanted = submission_of(operation, child)
        await drive.insist(drive.journal.start_child, drive.claim, step, wanted)
        drive.kit.woken([child.id])
    child = await _ended_child(drive, call)
    ended = drive.clock.now()
    if child.status == "succeeded":
        step = call.stands("succeeded", started, result=child.output, ended_at=ended)
    else:
        error = child.error or {
            "code": "canceled",
            "category": "internal",
            "type": "Canceled",
            "message": "the run was canceled",
        }
        message = f"{operation.name} ({child.id}): {error['message']}"
        said = {**error, "message": message, "step": call.key}
        step = call.stands("failed", started, error=said, ended_at=ended)
    await drive.record(step)
    return known_result(step, operation.result)


async def _ended_child(drive: Drive, call: Call) -> Run:
    while True:
        seen = drive.wakes
        child = await drive.insist(drive.journal.child_of, drive.run.id, call.key)
        assert child is not None, "the call's step and its run were stored together"
        if child.done:
            return child
        text = f"the run {child.id} ({child.operation})"
        await drive.pause(None, {"kind": "run", "text": text, "until": None}, wakes=seen)
