"""One run: what it does, why it waits, what it made; and what can be done about it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from fastapi import APIRouter, Response

from understudy.engine.run import Run, Step
from understudy.errors import NotFound
from understudy.web.api.webhooks import redeliver as tell_again
from understudy.web.dashboard.page import Page, go
from understudy.web.dashboard.previews import previews
from understudy.web.dashboard.visitor import Visit, Visitor
from understudy.web.dashboard.waterfall import waterfall
from understudy.wire import RunView

_EVERY = 2.0
_EVENTS = 60

router = APIRouter(route_class=Page, include_in_schema=False)


class Event(NamedTuple):
    """One thing that happened to a run: when, in which tone, what, and more of it."""

    at: float
    tone: str
    text: str
    more: str = ""


@dataclasses.dataclass(frozen=True)
class Ask:
    """A question before an action: what it does in words, and what its button says."""

    title: str
    text: str
    button: str
    danger: bool = False


_ASKS = {
    "cancel": Ask(
        "Cancel this run?",
        "Steps that run now are stopped; what is finished stays stored. A canceled run can be "
        "retried later, and then goes on behind its last finished step.",
        "Cancel the run",
        danger=True,
    ),
    "retry": Ask(
        "Retry this run?",
        "It goes on behind its last finished step: what has been made is not made again.",
        "Retry the run",
    ),
    "redeliver": Ask(
        "Tell its address again?",
        "The message about the end of this run is sent once more, under the same id, so that a "
        "receiver that has had it can tell.",
        "Send it again",
    ),
}


@router.get("/dashboard/runs/{run_id}")
async def run(visit: Visit, run_id: str) -> Response:
    """The page of a run; it follows the run until its end."""
    engine = visit.app.engine
    found = await engine.get(run_id, visit.tenant)
    steps = await engine.steps(run_id, visit.tenant)
    view = await engine.show(found, steps)
    output = None if found.output is None else json.loads(found.output)
    given = json.loads(found.input)
    return await visit.show_live(
        "run.html",
        every=None if found.done else _EVERY,
        signs=f"/dashboard/runs/{run_id}/signs",
        run=found,
        view=view,
        share=_share(view),
        end=_end(view, visit.app.clock.now()),
        input=given,
        output=output,
        took=await previews(visit.files, given),
        made=await previews(visit.files, output),
        fall=waterfall(found, steps, visit.app.clock.now()),
        events=events(found, steps),
    )


@router.get("/dashboard/runs/{run_id}/json")
async def raw(visit: Visit, run_id: str) -> Response:
    """The run as the API gives it."""
    view = await visit.app.engine.view(run_id, tenant=visit.tenant)
    return Response(view.model_dump_json(indent=2), media_type="application/json")


@router.get("/dashboard/runs/{run_id}/{action}")
async def ask(visit: Visit, run_id: str, action: str) -> Response:
    """The question before an action."""
    if action not in _ASKS:
        raise NotFound(f"there is nothing at /dashboard/runs/{run_id}/{action}")
    visit.principal.require("submit")
    found = await visit.app.engine.get(run_id, visit.tenant)
    return await visit.show(
        "ask.html",
        ask=_ASKS[action],
        subject=f"{found.operation} {found.id}",
        address=f"/dashboard/runs/{run_id}/{action}",
        back=f"/dashboard/runs/{run_id}",
    )


@router.post("/dashboard/runs/{run_id}/cancel")
async def cancel(visit: Visit, run_id: str) -> Response:
    """Cancel it."""
    reason = await _reason(visit)
    await visit.app.engine.cancel(run_id, visit.tenant)
    return await _done(visit, "run.cancel", run_id, reason)


@router.post("/dashboard/runs/{run_id}/retry")
async def retry(visit: Visit, run_id: str) -> Response:
    """Run it again, behind what it has finished."""
    reason = await _reason(visit)
    await visit.app.engine.retry(run_id, visit.tenant)
    return await _done(visit, "run.retry", run_id, reason)


@router.post("/dashboard/runs/{run_id}/redeliver")
async def redeliver(visit: Visit, run_id: str) -> Response:
    """Tell its webhook once more."""
    reason = await _reason(visit)
    await tell_again(visit.app, visit.principal, run_id)
    return await _done(visit, "run.redeliver", run_id, reason)


async def _reason(visit: Visitor) -> str:
    """The reason that was given."""
    return str((await visit.confirmed("submit")).get("reason") or "")


async def _done(visit: Visitor, action: str, run_id: str, reason: str) -> Response:
    await visit.note(action, run_id, reason)
    return go(visit.request, f"/dashboard/runs/{run_id}")


def events(run: Run, steps: Sequence[Step]) -> list[Event]:
    """What happened, newest first; of very many steps the last ones."""
    found = [Event(run.created_at, "idle", "asked for", _for_whom(run))]
    if run.started_at is not None:
        found.append(Event(run.started_at, "busy", "begun", _attempt(run)))
    found += [_step_event(step) for step in steps]
    if run.cancel_requested_at is not None:
        found.append(Event(run.cancel_requested_at, "idle", "asked to be canceled"))
    if run.ended_at is not None:
        found.append(_last(run, run.ended_at))
    order = {event: place for place, event in enumerate(found)}
    found.sort(key=lambda event: (event.at, order[event]), reverse=True)
    return found[:_EVENTS]


def _last(run: Run, at: float) -> Event:
    error = run.error or {}
    tone = {"succeeded": "good", "failed": "bad"}.get(run.status, "idle")
    return Event(at, tone, run.status, str(error.get("message", "")))


def _step_event(step: Step) -> Event:
    error: dict[str, Any] = dict(step.error or {})
    said = str(error.get("message", ""))
    if step.state == "retry":
        more = f"attempt {step.attempt} failed: {said}"
        return Event(step.started_at, "wait", f"{step.key} is tried again", more)
    if step.state == "waiting" or step.ended_at is None:
        return Event(step.started_at, "wait", f"{step.key} waits", step.kind)
    if step.state == "failed":
        return Event(step.ended_at, "bad", f"{step.key} failed", said)
    return Event(step.ended_at, "good", f"{step.key} done")


def _for_whom(run: Run) -> str:
    return f"for {run.user}" if run.user else ""


def _attempt(run: Run) -> str:
    return f"attempt {run.attempt}" if run.attempt > 1 else ""


def _share(view: RunView) -> float | None:
    """How far the bar is in percent; None if nobody can tell.

    Without a history there is only what the steps of a map say of themselves.
    """
    if view.status == "succeeded":
        return 100.0
    if view.percent is not None:
        return float(view.percent)
    said = view.progress
    return min(100.0, 100 * said.done / said.total) if said and said.total else None


def _end(view: RunView, now: float) -> tuple[float, float] | None:
    """When it will probably end, and when almost certainly (seconds since 1970)."""
    return None if view.eta is None else (now + view.eta.p50, now + view.eta.p90)
