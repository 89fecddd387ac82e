"""From an asking to a queued run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from understudy import ids
from understudy.engine.operation import Operation
from understudy.engine.run import Run

_EMBEDDED = "embedded"


def new_run(
    operation: Operation[Any, Any],
    data: Mapping[str, Any] | BaseModel,
    *,
    now: float,
    tenant: str,
    user: str | None,
) -> Run:
    """A run that is due at once. Raises `InvalidInput`."""
    run_id = ids.ordered("run", now)
    return Run(
        id=run_id,
        tenant=tenant,
        user=user,
        operation=operation.name,
        version=operation.version,
        input=operation.parse(data).model_dump_json(),
        status="queued",
        plan=_EMBEDDED,
        epoch=1,
        attempt=1,
        claim=None,
        worker=None,
        wake_at=now,
        cancel_requested_at=None,
        waiting_for=None,
        progress=None,
        output=None,
        error=None,
        parent_id=None,
        parent_key=None,
        root_id=run_id,
        created_at=now,
        started_at=None,
        ended_at=None,
    )


def child_run(
    parent: Run,
    key: str,
    operation: Operation[Any, Any],
    data: Mapping[str, Any] | BaseModel,
    *,
    now: float,
) -> Run:
    """A run for the call step `key` of `parent`, whose tenant, user and root it shares."""
    run = new_run(operation, data, now=now, tenant=parent.tenant, user=parent.user)
    return run._replace(
        parent_id=parent.id, parent_key=key, root_id=parent.root_id, plan=parent.plan
    )
