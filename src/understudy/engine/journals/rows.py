"""Runs and steps as rows of the database, and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from understudy.db.tx import Row
from understudy.engine.journals.statements import NEW_RUN_COLUMNS, RUN_COLUMNS
from understudy.engine.run import Claim, Run, Step

_RUN_JSON = tuple(Run._fields.index(name) for name in ("waiting_for", "progress", "error"))
_STEP_ERROR = Step._fields.index("error")


def as_json(value: Any) -> str | None:
    """JSON text; None stays None."""
    return None if value is None else json.dumps(value, ensure_ascii=False)


def run_of(row: Row) -> Run:
    """A run from its columns."""
    values = list(row)
    for index in _RUN_JSON:
        if values[index] is not None:
            values[index] = json.loads(values[index])
    return Run(*values)


new_run_row: Callable[[Run], Row] = itemgetter(
    *(RUN_COLUMNS.split(", ").index(name) for name in NEW_RUN_COLUMNS.split(", "))
)
"""The columns of a run that is new."""


def step_of(row: Row) -> Step:
    """A step from its columns."""
    if row[_STEP_ERROR] is None:
        return Step(*row)
    values = list(row)
    values[_STEP_ERROR] = json.loads(values[_STEP_ERROR])
    return Step(*values)


def step_row(claim: Claim, step: Step, change: int) -> Row:
    """The columns of a step, with the claim under which it may be stored.

    `change` is the next of `claim.changes`, taken where the write is asked for and not where it is
    done: writes are done in the order of asking, so their numbers never come back.
    """
    return (
        claim.run_id,
        claim.token,
        step.key,
        step.seq,
        step.name,
        step.kind,
        step.state,
        step.attempt,
        step.due_at,
        step.result,
        as_json(step.error),
        step.started_at,
        step.ended_at,
        change,
    )
