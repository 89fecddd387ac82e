"""The JSON that every surface speaks: the models of a run and its steps.

Times are RFC 3339 in UTC. `input` and `output` are the operation's own JSON.
"""

from __future__ import annotations

from typing import Any, Literal

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

    `position` is its place in the queue, from 1. Of a retry, `step` is the key of the step that
    failed, `attempt` the one to come and `attempts` how many there may be. Where the code no longer
    fits the journal, `expected` is the step that the journal remembers next, `found` the one that
    the code asked for (None: it ended).
    """

    kind: str
    text: str
    until: str | None = None
    position: int | None = None
    step: str | None = None
    attempt: int | None = None
    attempts: int | None = None
    expected: str | None = None
    found: str | None = None


class EtaView(_View):
    """When a run will probably end, as its operation's history tells.

    `p50` and `p90` are seconds from now: one run of two ends before the first, nine of ten before
    the second. `percent` (0 to 99) never goes back. `basis` says what this rests on.
    """

    p50: float
    p90: float
    percent: int
    confidence: Literal["low", "medium", "high"]
    basis: str


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


class RunUrls(_View):
    """Where to look at a run, follow it and act on it; nobody needs to build these."""

    self: str
    steps: str
    events: str
    cancel: str
    retry: str
    replay: str


class RunView(_View):
    """One asking for an operation, as JSON. `urls` is there in answers of the HTTP API."""

    id: str
    operation: str
    status: str
    done: bool
    input: Any
    output: Any
    error: ErrorView | None
    steps: list[StepView]
    progress: ProgressView | None
    percent: int | None = None
    eta: EtaView | None = None
    waiting_for: WaitingView | None
    attempt: int
    user: str | None
    forked_from: str | None
    created_at: str
    started_at: str | None
    ended_at: str | None
    urls: RunUrls | None = None


class RunPage(_View):
    """Some runs, newest first; `next` is the token of the following page, None on the last."""

    items: list[RunView]
    next: str | None = None


class StepDetail(StepView):
    """A step with what it was called and, once it has succeeded, what it returned."""

    name: str
    result: Any = None


class StepPage(_View):
    """All that a run remembers, in the order of the calls."""

    items: list[StepDetail]


class EventView(_View):
    """What a webhook is sent: `type` is `run.succeeded`, `run.failed` or `run.canceled`."""

    type: str
    timestamp: str
    data: RunView


class OperationView(_View):
    """What can be asked for: JSON Schemas of its input and output, and examples of the input."""

    name: str
    version: int
    summary: str
    input: dict[str, Any]
    output: dict[str, Any]
    examples: dict[str, Any] = {}


class OperationList(_View):
    """What can be asked for, by name."""

    items: list[OperationView]


class ArtifactView(_View):
    """A stored file. `size` is in bytes, `duration` in seconds.

    `url` is a link to its bytes that needs no key, until `url_expires_at`.
    """

    id: str
    name: str
    media_type: str
    size: int
    sha256: str
    width: int | None = None
    height: int | None = None
    duration: float | None = None
    created_at: str
    expires_at: str | None = None
    url: str | None = None
    url_expires_at: str | None = None


class WebhookView(_View):
    """An address that is told of runs' ends: `url` has no query, which may differ with each run.

    `failing_since` is the first failure after the last success. Nothing is sent while `enabled` is
    false; `reason` says why. After a rotation the old secret signs as well until `former_until`.
    """

    id: str
    url: str
    enabled: bool
    created_at: str
    failing_since: str | None = None
    disabled_at: str | None = None
    reason: str | None = None
    former_until: str | None = None


class WebhookPage(_View):
    """Some addresses, newest first; `next` is the token of the following page."""

    items: list[WebhookView]
    next: str | None = None


class SecretView(_View):
    """What signs webhooks to an address: `whsec_…`, which only its receiver may know."""

    secret: str


class SignalView(_View):
    """How many runs a signal woke, canceled or started."""

    name: str
    woken: int


class FaultView(_View):
    """One fault of a body: where, as a JSON pointer, and what is wrong there."""

    pointer: str
    detail: str


class ProblemView(_View):
    """An error of the API, as `application/problem+json` (RFC 9457). `code` says which it is."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    code: str
    category: str
    errors: list[FaultView] = []
    retry_after: float | None = None


class ProblemKind(_View):
    """What a `type` of problem means, and whether the same request may succeed later."""

    type: str
    code: str
    title: str
    status: int
    category: str
    retriable: bool
    meaning: str


class ProblemKinds(_View):
    """Every type of problem."""

    items: list[ProblemKind]


class HealthView(_View):
    """That a server lives, or is ready."""

    status: str


class QueueView(_View):
    """An operation's unfinished runs: `due` wait for a worker, `held` for a place under a limit.

    `running` are driven now, `parked` wait for a time, a signal or another run. `oldest_due` is
    since when the first of the due waits.
    """

    operation: str
    due: int
    held: int
    running: int
    parked: int
    oldest_due: str | None


class QueueList(_View):
    """The tenant's unfinished runs by operation; `workers` is how many processes drive runs."""

    items: list[QueueView]
    workers: int
