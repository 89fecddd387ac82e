"""The contract of a journal: where runs, steps and signals are remembered.

Every method is one atomic, durable change: when it returns, the change survives a crash. What
needs a claim changes nothing and raises `SupersededInterrupt` once the run's row no longer holds
the claim's token. The suite in `understudy.testing.conformance.journal` states the contract; every
journal passes it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from understudy.clock import iso
from understudy.engine.change import Look, Seen
from understudy.engine.run import (
    Claim,
    Claimed,
    Outcome,
    QueueRow,
    Request,
    Run,
    RunFilter,
    Scope,
    Signal,
    Step,
    Submission,
    WaitFor,
    WorkerRow,
    describe_error,
)
from understudy.errors import WaitTimeout


@dataclasses.dataclass(frozen=True, slots=True)
class Claims:
    """What a worker got.

    `next_due` is when the next run in its scope is due, or fails at its deadline (None: nothing is
    planned); `more` says that others may be due already, `overdue` that a deadline has passed.
    """

    runs: tuple[Claimed, ...]
    next_due: float | None
    more: bool = False
    overdue: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Overdue:
    """How runs past their deadline fail: with which `error`, and what run follows, if any."""

    error: Callable[[Run], Mapping[str, Any]]
    then: Callable[[Run], Submission | None]
    limit: int = 100


class Slot(NamedTuple):
    """When a cron operation starts next, by which expression."""

    cron: str
    next_at: float


@dataclasses.dataclass(frozen=True, slots=True)
class Past:
    """Runs that ended before a time, in one state or any; with any, also what else is that old.

    Of one tenant, or else of all that have set no time of their own.
    """

    before: float
    status: str | None = None
    limit: int = 500
    tenant: str | None = None


def wait_ended(step: Step, wait: WaitFor, *, data: str | None, now: float) -> Step:
    """How a wait stands: ended by a signal's `data`, else by its time, else still waiting."""
    if data is not None:
        return step._replace(state="succeeded", result=data, ended_at=now)
    if wait.due_at is not None and now >= wait.due_at:
        message = f"no matching signal {wait.name!r} came before {iso(wait.due_at)}"
        error = describe_error(WaitTimeout(message, step=step.key))
        return step._replace(state="failed", error=error, ended_at=now)
    return step._replace(state="waiting")


def forgotten_by_retry(steps: Sequence[Step], error: Mapping[str, Any] | None) -> list[Step]:
    """What a retry of a run that failed with `error` forgets.

    The step that failed it, with the failed items of the same map, and what the run did because of
    that failure: steps that started after it.
    """
    key = (error or {}).get("step")
    cause = next((step for step in steps if step.key == key and step.state == "failed"), None)
    if cause is None or cause.ended_at is None:
        return []
    ended = cause.ended_at
    return [
        step
        for step in steps
        if (step.state == "failed" and _call_of(step) == _call_of(cause))
        or (step.seq > cause.seq and step.started_at > ended)
    ]


def _call_of(step: Step) -> str:
    """The key of the call that made the step: of the whole map for an item."""
    return step.key.partition("[")[0]


class Beats(Protocol):
    """What renews a worker's lease, by a thread of its own if `threaded`.

    `tell` is called on the loop with whether the lease was held, whether another worker's has run
    out, and when, by the worker's clock `now`, this renewal began. `info` is the worker's word.
    """

    threaded: bool
    tell: Callable[[bool, bool, float], None]
    info: Mapping[str, Any]
    now: Callable[[], float]

    async def once(self) -> None:
        """Renew the lease now."""
        ...

    async def close(self) -> None:
        """Renew it no more."""
        ...


class Journal(Protocol):
    """Runs, steps and signals. Times are seconds since 1970 and come from the caller's clock."""

    async def submit(self, submission: Submission, request: Request | None = None) -> Run:
        """Store a new run, queued and due at its `wake_at`, and with it the tenant's `request`.

        With an idempotency key that the tenant has used for this operation before, no run is
        stored, and that one is returned; so with the key of a request, for any operation. Raises
        `KeyReused` if that request had another fingerprint.
        """
        ...

    async def claim(self, worker: str, scope: Scope, *, limit: int, now: float) -> Claims:
        """Take up to `limit` due runs, the longest due first, each under a fresh token.

        Of operations with limits no more than these allow, counted over all workers.
        """
        ...

    async def record(self, claim: Claim, step: Step) -> None:
        """Store how a step stands: a result, a failure, a pause. A finished step never changes."""
        ...

    async def emit(
        self, claim: Claim, step: Step, signal: Signal, starts: Sequence[Submission] = ()
    ) -> list[str]:
        """Record an emit step, its signal and the runs that it starts together.

        The ids of the runs that it woke, canceled or started.
        """
        ...

    async def await_signal(self, claim: Claim, step: Step, wait: WaitFor, *, now: float) -> Step:
        """The wait's step after looking at the signals.

        A wait that has ended stays as it is. The earliest unused signal of the run's tenant that
        matches, came after the run was created and not after `due_at`, succeeds the step; past
        `due_at` the step fails; else it is waiting and the wait is open. Looking and opening are
        one change: no signal falls between.
        """
        ...

    async def start_child(self, claim: Claim, step: Step, child: Submission) -> None:
        """Record a waiting call step and submit its run together, once."""
        ...

    async def child_of(self, run_id: str, key: str) -> Run | None:
        """The run that a call step started."""
        ...

    async def park(self, claim: Claim, until: float | None, waiting_for: Mapping[str, Any]) -> bool:
        """Give the run up until `until`, or a wake; True if it was woken meanwhile, so due now."""
        ...

    async def release(self, claim: Claim, *, now: float) -> None:
        """Hand the run back, due at once, at a higher epoch."""
        ...

    async def finish(
        self, claim: Claim, outcome: Outcome, *, now: float, then: Submission | None = None
    ) -> list[str]:
        """End the run, wake its parent and store the run that follows, if any.

        The ids of the runs to look at.
        """
        ...

    def progress(self, claim: Claim, progress: Mapping[str, Any]) -> None:
        """Show how far the run is, soon. May be lost in a crash; never raises."""
        ...

    async def take_poke(self, claim: Claim) -> bool:
        """Consume a wake that came while the run was driven; True if it is a cancellation."""
        ...

    async def poked(self, worker: str, *, now: float) -> list[str]:
        """The ids of the worker's claimed runs that were woken or canceled from outside."""
        ...

    async def changed(self) -> bool:
        """Whether another process may have written since the last call. Cheap."""
        ...

    def on_change(self, tell: Callable[[], None]) -> None:
        """Have `tell` called when another process leaves work, where that can be known at once."""
        ...

    async def enlist(self, worker: str, *, lease: float, info: Mapping[str, Any]) -> None:
        """Begin a worker's lease, for so many seconds. `info` has `started_at`.

        Where one process at a time may work, all other leases end with it.
        """
        ...

    def beats(self, worker: str, *, lease: float, every: float) -> Beats:
        """What renews the lease each so many seconds, from now on if it is threaded."""
        ...

    async def leave(self, worker: str) -> None:
        """End a worker's lease: it drives nothing any more."""
        ...

    async def recover(self, *, now: float) -> list[str]:
        """Take all claims from workers without a lease: their runs are due at a higher epoch.

        The ids of these runs.
        """
        ...

    async def unhold(self) -> None:
        """Look again at what is held for a concurrency key: limits may have changed."""
        ...

    async def fail_overdue(self, overdue: Overdue, *, now: float) -> list[str]:
        """Fail runs that nobody drives and whose deadline has passed; the ids of the runs woken."""
        ...

    async def slots(self, tenant: str) -> Mapping[str, Slot]:
        """When the tenant's cron operations start next, by operation."""
        ...

    async def schedule(
        self,
        tenant: str,
        operation: str,
        slot: Slot,
        *,
        expected: Slot | None,
        starts: Sequence[Submission] = (),
    ) -> bool:
        """Set the next slot and submit the runs of those passed, if it still is as expected."""
        ...

    async def forget(self, past: Past) -> int:
        """Delete a batch of what is past; how many runs and signals. A run with files is kept."""
        ...

    async def signal(
        self, signal: Signal, starts: Sequence[Submission] = (), *, now: float
    ) -> list[str]:
        """Store a signal and the runs that it starts; the ids of the runs to look at."""
        ...

    async def wake(self, run_id: str, *, now: float) -> None:
        """Make a run that has not ended due now."""
        ...

    async def cancel(self, run_id: str, *, now: float) -> list[str]:
        """Cancel a run and its children: at once if nobody drives it, else by waking the driver.

        Returns the ids of the runs to wake. Raises `Conflict` if the run ended otherwise.
        """
        ...

    async def retry(
        self, run_id: str, *, now: float, cancels: Callable[[Run], Sequence[WaitFor]] = ...
    ) -> list[str]:
        """Queue a failed or canceled run again, at the next attempt and a higher epoch.

        Finished steps are kept, but for what `forgotten_by_retry` names. A call that failed the
        run, or is open still, retries its child; the child of a forgotten call is canceled.
        `cancels` says which signals would cancel a run from now on (none, if it is left out).
        Returns the ids of the runs to wake. Raises `Conflict` for a run in another state.
        """
        ...

    async def fork(self, run_id: str, key: str | None, submission: Submission) -> None:
        """Store a new run that remembers what `run_id` does of the steps before `key`.

        None: all its finished steps. Raises `NotFound` for an unknown step.
        """
        ...

    async def changes(self, looks: Sequence[Look]) -> Sequence[Seen]:
        """What each look finds new, in one query over one state of the journal."""
        ...

    def on_write(self, tell: Callable[[str], None] | None) -> None:
        """Have `tell` called with the id of a run that this process has changed; None: no more.

        A change may go untold; then `changes` finds it.
        """
        ...

    async def place(self, run: Run) -> int | None:
        """How many stand before it in its queue, at most 1,000 (then there may be more).

        Due runs of its lane; for one that is held, those of its concurrency key. None for a run
        that no driver needs to take: it is driven, waits for no time, or has ended.
        """
        ...

    async def get(self, run_id: str) -> Run:
        """One run. Raises `NotFound`."""
        ...

    async def steps(self, run_id: str) -> list[Step]:
        """A run's steps, in the order of the calls."""
        ...

    async def workers(self) -> Sequence[WorkerRow]:
        """Who drives runs, the oldest first."""
        ...

    async def queues(self, *, now: float, tenant: str | None = None) -> Sequence[QueueRow]:
        """What is unfinished, of this tenant or of all, by operation and concurrency key."""
        ...

    async def list(self, wanted: RunFilter) -> Sequence[Run]:
        """Runs, newest first."""
        ...

    async def unfinished(self, tenant: str) -> Sequence[Run]:
        """Runs that have not ended, oldest first."""
        ...
