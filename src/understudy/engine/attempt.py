"""Trying a step until it succeeds or fails for good."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from understudy.clock import iso
from understudy.engine.body import run_body
from understudy.engine.codec import Codec
from understudy.engine.drive import Drive
from understudy.engine.replay import Call
from understudy.engine.retry import Retry
from understudy.engine.run import Step, describe_error
from understudy.errors import StepFailed
from understudy.telemetry.about import STEP, note

_HALF_A_DAY = 43_200.0


class Task(NamedTuple):
    """What a step does, and how often it may try. `timeout` is in seconds, for each attempt."""

    function: Callable[..., Any]
    arguments: Sequence[Any]
    codec: Codec
    retry: Retry
    timeout: float | None


class Gate(Protocol):
    """Decides when an attempt may be made."""

    def check(self) -> None:
        """Raise if no attempt will be made any more."""
        ...

    def close(self) -> None:
        """Let no attempt begin any more."""
        ...

    async def __aenter__(self) -> None: ...
    async def __aexit__(self, *_: object) -> None: ...


async def attempt(drive: Drive, call: Call, task: Task, gate: Gate | None = None) -> Any:
    """The step's result, remembered. Raises `StepFailed` after the last attempt.

    Each attempt is made inside the `gate`.
    """
    await drive.begin(call)
    step = call.step
    while True:
        if step is not None:
            if gate is not None:
                gate.check()
            await _await_next_attempt(drive, step, task.retry.attempts)
        if gate is None:
            value, step = await _try_once(drive, call, step, task)
        else:
            async with gate:
                value, step = await _try_once(drive, call, step, task)
                if step.state == "failed":
                    gate.close()  # before the next one is let in
        if step.state == "succeeded":
            return value
        if step.state == "failed":
            raise step_failed(step)


def known_result(step: Step, codec: Codec) -> Any:
    """What a finished step answers: its result, or its failure as `StepFailed`."""
    if step.state == "failed":
        raise step_failed(step)
    return codec.load(step.result or "null")


def step_failed(step: Step) -> StepFailed:
    """The failure of a step, the same on the first run and on every replay."""
    error = step.error or {}
    return StepFailed(
        error["message"], step=step.key, type=error["type"], category=error["category"]
    )


async def _try_once(drive: Drive, call: Call, before: Step | None, task: Task) -> tuple[Any, Step]:
    """One attempt and its record: the value and how the step stands now."""
    if held := drive.kit.held():
        await held  # after a pause of the process, others may have done it
    drive.check()
    number = 1 if before is None else before.attempt + 1
    started = drive.clock.now()
    first = started if before is None else before.started_at
    STEP.set(call.key)
    try:
        value = await run_body(task.function, task.arguments, task.timeout, drive.clock)
        text = task.codec.dump(value)
        value = task.codec.settle(value, text)
    except Exception as error:  # noqa: BLE001 - the edge where any failure of a body is journalled
        now = drive.clock.now()
        said = describe_error(error, step=call.key)
        delay = task.retry.delay(number, error, drive.kit.chance)
        if delay is None:
            step = call.stands("failed", first, attempt=number, error=said, ended_at=now)
        else:
            step = call.stands("retry", first, attempt=number, error=said, due_at=now + delay)
        await drive.record(step)
        _note_failure(step)
        return None, step
    finally:
        STEP.set(None)
    now = drive.clock.now()
    step = call.stands("succeeded", first, attempt=number, result=text, ended_at=now)
    await drive.record(step)
    return value, step


def _note_failure(step: Step) -> None:
    said = step.error or {}
    again = None if step.due_at is None else iso(step.due_at)
    facts = {"try": step.attempt, "category": said.get("category"), "error": said.get("message")}
    note("step_failed", level="warning", **facts, again_at=again)


async def _await_next_attempt(drive: Drive, step: Step, attempts: int) -> None:
    assert step.due_at is not None
    said = (step.error or {}).get("message", "")
    number, at = step.attempt + 1, _short(step.due_at, drive.clock.now())
    waiting_for = {
        "kind": "retry",
        "text": f"attempt {number} of {attempts} of step {step.key!r} at {at}: {said}",
        "until": step.due_at,
        "step": step.key,
        "attempt": number,
        "attempts": attempts,
    }
    while drive.clock.now() < step.due_at:
        await drive.pause(step.due_at, waiting_for)


def _short(at: float, now: float) -> str:
    """A time in words: with its day only where it may be another one."""
    return f"{iso(at)[11 if at - now < _HALF_A_DAY else 0 : 19]}Z"
