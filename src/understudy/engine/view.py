"""A run as the JSON that surfaces show."""

from __future__ import annotations

import json
from collections.abc import Sequence

from understudy.clock import iso
from understudy.engine.crowd import Crowd
from understudy.engine.eta import Eta
from understudy.engine.forecasts import Forecast
from understudy.engine.run import Run, Step
from understudy.wire import ErrorView, EtaView, ProgressView, RunView, StepView, WaitingView

_UNKNOWN = Forecast()


def run_view(
    run: Run,
    steps: Sequence[Step],
    crowd: Crowd | None = None,
    *,
    place: int | None = None,
    forecast: Forecast = _UNKNOWN,
) -> RunView:
    """The wire form of a run and its steps, in the order of the calls.

    With the `crowd`, a queued run says what it waits for, too, and with its `place` (how many due
    runs stand before it) where it stands.
    """
    return RunView(
        id=run.id,
        operation=run.operation,
        status=run.status,
        done=run.done,
        input=json.loads(run.input),
        output=None if run.output is None else json.loads(run.output),
        error=ErrorView(**run.error) if run.error else None,
        steps=[_step_view(step) for step in steps],
        progress=ProgressView(**run.progress) if run.progress else None,
        percent=100 if run.status == "succeeded" else forecast.percent,
        eta=_eta_view(forecast.eta),
        waiting_for=waiting_view(run, crowd, place),
        attempt=run.attempt,
        user=run.user,
        forked_from=run.forked_from,
        created_at=iso(run.created_at),
        started_at=_time(run.started_at),
        ended_at=_time(run.ended_at),
    )


def waiting_view(
    run: Run, crowd: Crowd | None = None, place: int | None = None
) -> WaitingView | None:
    """What the run waits for; None if nothing, or if only the crowd could tell."""
    if run.cancel_requested_at is not None and not run.done:
        return WaitingView(kind="canceling", text="the running steps to stop: it was canceled")
    if queues(run):
        return None if crowd is None else crowd.ahead_of(run, place)
    said = run.waiting_for
    if said is None:
        return None
    return WaitingView(
        kind=said["kind"],
        text=said["text"],
        until=_time(said.get("until")),
        step=said.get("step"),
        attempt=said.get("attempt"),
        attempts=said.get("attempts"),
        expected=said.get("expected"),
        found=said.get("found"),
    )


def queues(run: Run) -> bool:
    """Whether the run stands in a queue: it never began, was handed back, or was woken and held."""
    return run.status == "queued" or (run.status == "waiting" and run.held != 0)


def _eta_view(eta: Eta | None) -> EtaView | None:
    if eta is None:
        return None
    return EtaView(
        p50=round(eta.p50, 1),
        p90=round(eta.p90, 1),
        percent=eta.percent,
        confidence=eta.confidence,
        basis=eta.basis,
    )


def _step_view(step: Step) -> StepView:
    return StepView(
        key=step.key,
        kind=step.kind,
        state=step.state,
        attempt=step.attempt,
        started_at=iso(step.started_at),
        ended_at=_time(step.ended_at),
        due_at=_time(step.due_at),
        error=ErrorView(**step.error) if step.error else None,
    )


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else iso(seconds)
