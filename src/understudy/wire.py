"""The JSON that every surface speaks: the models of a run and its steps.

Times are RFC 3339 in UTC. `input` and `output` are the operation's own JSON.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class ErrorView(_View):
    """Why something failed. `step` is the key of the step that did, if one did."""

    code: str
    category: str
    message: str
    type: str
    step: str | None = None


class ProgressView(_View):
    """How far a run is, in a unit of its own."""

    done: float
    total: float
    note: str = ""


class WaitingView(_View):
    """What a run waits for: the clock, a signal, a retry, another run, a place, the operator.

    Where the code no longer fits the journal, `expected` is the step that the journal remembers
    next, `found` the one that the code asked for (None: it ended).
    """

    kind: str
    text: str
    until: str | None = None
    expected: str | None = None
    found: str | None = None


class StepView(_View):
    """One remembered unit of a run."""

    key: str
    kind: str
    state: str
    attempt: int
    started_at: str
    ended_at: str | None
    due_at: str | None
    error: ErrorView | None


class RunView(_View):
    """One asking for an operation, as JSON."""

    id: str
    operation: str
    status: str
    done: bool
    input: Any
    output: Any
    error: ErrorView | None
    steps: list[StepView]
    progress: ProgressView | None
    waiting_for: WaitingView | None
    attempt: int
    user: str | None
    forked_from: str | None
    created_at: str
    started_at: str | None
    ended_at: str | None
