"""The runs that follow from something else: from a signal, from a failure. Pure."""

from __future__ import annotations

import json
from typing import Any

from understudy.engine.flow import Failure
from understudy.engine.operation import Operation
from understudy.engine.registry import Registry
from understudy.engine.run import Run, Submission, WaitFor
from understudy.engine.submission import Asking, triggered_run
from understudy.errors import Error


def submission_of(operation: Operation[Any, Any], run: Run) -> Submission:
    """A new run with the signals that would cancel it."""
    if not operation.cancel_on:
        return Submission(run)
    data = json.loads(run.input)
    wanted = [(one.signal, one.wanted(data)) for one in operation.cancel_on]
    return Submission(
        run, tuple(WaitFor(name, fields, None) for name, fields in wanted if fields is not None)
    )


def started_by(
    registry: Registry, signal: str, data: Any, asking: Asking, *, now: float
) -> tuple[Submission, ...]:
    """The runs of the operations that a signal of this name and data triggers."""
    return tuple(
        submission_of(operation, triggered_run(operation, data, asking, now=now))
        for operation in registry.triggered_by(signal)
        if operation.starts_on(signal, data)
    )


def follows_failure(registry: Registry, run: Run, *, now: float) -> Submission | None:
    """The `on_failure` run of a run that has failed; None if its operation names none.

    Its idempotency key is the failed try, so that however often the end is written it is one run.
    """
    try:
        operation = registry.for_run(run)
    except Error:
        return None
    if operation.on_failure is None:
        return None
    failure = Failure(
        run_id=run.id,
        operation=run.operation,
        user=run.user,
        input=json.loads(run.input),
        error=dict(run.error or {}),
        attempt=run.attempt,
    )
    follower = registry.get(operation.on_failure)
    key = f"failure:{run.id}:{run.attempt}"
    asking = Asking(run.tenant, run.user, idempotency_key=key)
    given = failure.model_dump(mode="json")
    return submission_of(follower, triggered_run(follower, given, asking, now=now))
