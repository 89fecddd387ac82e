"""Values of the engine: a run, its steps, a signal, and what a worker holds while it drives.

Runs and steps are named tuples: they are made from rows by the thousand, at a quarter of the cost
of frozen dataclasses.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from understudy.clock import iso
from understudy.engine.flow import Flow
from understudy.errors import Error, StepFailed, WaitTimeout

RunStatus = Literal["queued", "running", "waiting", "succeeded", "failed", "canceled"]
StepKind = Literal["step", "sleep", "wait", "emit", "call"]
StepState = Literal["retry", "waiting", "succeeded", "failed"]
OUT_OF_TIME = "run_timeout"
"""The code of the error with which a run fails at its deadline."""

DONE: frozenset[RunStatus] = frozenset({"succeeded", "failed", "canceled"})


class Run(NamedTuple):
    """One asking for an operation. Times are seconds since 1970, `input`, `output` JSON text.

    `waiting_for` is `{"kind", "text", "until"}` or None; `progress` is `{"done", "total", "note"}`
    or None; `error` is `{"code", "category", "message", "type", "step"}` or None. `epoch` numbers
    the tenure, `claim` is the token of the worker that drives the run now.

    `lane` is the queue that the run stands in: "" for all operations without flow control, else the
    operation's name. `held` says why a due run is not taken: 1 because its concurrency key is
    full, 2 because the throttle has booked it for `wake_at`. The run fails at `deadline_at`;
    `finish_within` are the seconds that it has from its start.

    `webhook` is the address that is told of its end. `change` rises with every change of the row
    (what a worker holds in memory is as old as its claim).
    """

    id: str
    tenant: str
    user: str | None
    operation: str
    version: int
    input: str
    status: RunStatus
    plan: str
    epoch: int
    attempt: int
    claim: str | None
    worker: str | None
    wake_at: float | None
    cancel_requested_at: float | None
    waiting_for: Mapping[str, Any] | None
    progress: Mapping[str, Any] | None
    output: str | None
    error: Mapping[str, Any] | None
    parent_id: str | None
    parent_key: str | None
    root_id: str
    lane: str
    concurrency_key: str | None
    throttle_key: str | None
    held: int
    deadline_at: float | None
    finish_within: float | None
    idempotency_key: str | None
    forked_from: str | None
    webhook: str | None
    change: int
    created_at: float
    started_at: float | None
    ended_at: float | None

    @property
    def done(self) -> bool:
        """True once the run is succeeded, failed or canceled."""
        return self.status in DONE


class Step(NamedTuple):
    """A remembered unit inside a run. `result` is JSON text, `error` as in `Run`.

    `seq` is the order of the call in the operation, `due_at` the end of a pause or wait. `change`
    is the number of its last change among all changes of the run's steps; the journal gives it.
    """

    key: str
    seq: int
    name: str
    kind: StepKind
    state: StepState
    attempt: int
    due_at: float | None
    result: str | None
    error: Mapping[str, Any] | None
    started_at: float
    ended_at: float | None
    change: int = 0


def _numbers() -> Iterator[int]:
    return itertools.count(1)


@dataclasses.dataclass(frozen=True, slots=True)
class Claim:
    """A worker's right to move one run: valid while the run's row holds `token` at `epoch`.

    The rest says whom the run's end concerns: its lane's queue, its parent, and who is told at its
    `webhook`. `changes` numbers the writes of its steps: one tenure at a time makes them.
    """

    run_id: str
    token: str
    epoch: int
    lane: str = ""
    concurrency_key: str | None = None
    parent_id: str | None = None
    webhook: str | None = None
    changes: Iterator[int] = dataclasses.field(default_factory=_numbers, compare=False, repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Claimed:
    """A claimed run and all that it remembers, in the order of its calls."""

    run: Run
    claim: Claim
    steps: tuple[Step, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Scope:
    """What a worker takes on.

    `operations` are the names it knows, `versions` the newest that it knows of each; `flows` what
    limits those that have limits, by lane. With `root`, only that run and its children, and
    whatever was submitted from `since` on.
    """

    operations: tuple[str, ...]
    flows: Mapping[str, Flow] = dataclasses.field(default_factory=dict)
    versions: Mapping[str, int] = dataclasses.field(default_factory=dict)
    root: str | None = None
    since: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class WaitFor:
    """An open wait for a signal: its name, the fields that must be equal, when it times out."""

    name: str
    match: Mapping[str, Any]
    due_at: float | None


class Submission(NamedTuple):
    """A new run, and the signals that would cancel it."""

    run: Run
    cancels: tuple[WaitFor, ...] = ()


class Request(NamedTuple):
    """What tells a repeated asking from a new one.

    `key` is the caller's, unique for the tenant; `fingerprint` is of all that was asked.
    """

    key: str
    fingerprint: str


class Accepted(NamedTuple):
    """The run of an asking; `replayed` when it is the one of an earlier, equal asking."""

    run: Run
    replayed: bool


class Signal(NamedTuple):
    """A named message to a tenant's runs: `data` is JSON text. The same key is stored once."""

    tenant: str
    name: str
    data: str
    idempotency_key: str | None = None


class WorkerRow(NamedTuple):
    """A process that drives runs: `info` is what it says of itself, `driving` how many runs."""

    name: str
    lease_until: float
    started_at: float
    info: Mapping[str, Any]
    driving: int


class QueueRow(NamedTuple):
    """What an operation's runs do, by concurrency key: how many are due, held, driven, parked.

    `oldest_due` is since when the first of the due has been waiting.
    """

    operation: str
    concurrency_key: str | None
    due: int
    held: int
    running: int
    parked: int
    oldest_due: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs to list, newest first. `since` and `until` (exclusive) are about creation.

    `unfinished`: only runs that have not ended. `before_id`: only runs with an id before that one,
    so that the next page begins where one ended, whatever came meanwhile.
    """

    tenant: str
    operation: str | None = None
    status: str | None = None
    user: str | None = None
    since: float | None = None
    until: float | None = None
    unfinished: bool = False
    before_id: str | None = None
    limit: int = 50


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: `output` (JSON text), or `error`, or neither when it was canceled."""

    status: Literal["succeeded", "failed", "canceled"]
    output: str | None = None
    error: Mapping[str, Any] | None = None


def describe_error(error: BaseException, *, step: str | None = None) -> dict[str, Any]:
    """The journal's form of an error: `{"code", "category", "message", "type", "step"}`."""
    failed = error if isinstance(error, StepFailed) else None
    message = str(error) or type(error).__name__
    return {
        "code": error.code if isinstance(error, Error) else "error",
        "category": error.category if isinstance(error, Error) else _foreign_category(error),
        # A file name that is no text, named in a message, must not keep it from being stored.
        "message": message.encode("utf-8", "backslashreplace").decode(),
        "type": failed.type if failed else type(error).__name__,
        "step": error.step if isinstance(error, StepFailed | WaitTimeout) else step,
    }


def out_of_time(run: Run) -> dict[str, Any]:
    """The error of a run whose deadline has passed."""
    if run.started_at is None:
        message = f"the run was not begun before {iso(run.deadline_at or 0.0)}, its timeout"
    else:
        message = f"the run did not end before {iso(run.deadline_at or 0.0)}, its timeout"
    return {
        "code": OUT_OF_TIME,
        "category": "timeout",
        "message": message,
        "type": "RunTimeout",
        "step": None,
    }


def _foreign_category(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, ConnectionError):
        return "network"
    return "internal"
