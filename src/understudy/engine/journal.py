"""The contract of a journal: where runs, steps and signals are remembered.

Every method is one atomic, durable change: when it returns, the change survives a crash. What
needs a claim changes nothing and raises `SupersededInterrupt` once the run's row no longer holds
the claim's token. The suite in `understudy.testing.conformance.journal` states the contract; every
journal passes it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from understudy.clock import iso
from understudy.engine.run import (
    Claim,
    Claimed,
    Outcome,
    Run,
    RunFilter,
    Scope,
    Step,
    WaitFor,
    describe_error,
)
from understudy.errors import WaitTimeout


@dataclasses.dataclass(frozen=True, slots=True)
class Claims:
    """What a worker got, and when the next run in its scope is due (None: nothing is planned)."""

    runs: tuple[Claimed, ...]
    next_due: float | None


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


class Journal(Protocol):
    """Runs, steps and signals. Times are seconds since 1970 and come from the caller's clock."""

    async def submit(self, run: Run) -> None:
        """Store a new run, queued and due at its `wake_at`."""
        ...

    async def claim(self, worker: str, scope: Scope, *, limit: int, now: float) -> Claims:
        """Take up to `limit` due runs, the longest due first, each under a fresh token."""
        ...

    async def record(self, claim: Claim, step: Step) -> None:
        """Store how a step stands: a result, a failure, a pause. A finished step never changes."""
        ...

    async def emit(
        self, claim: Claim, step: Step, name: str, data: str, *, tenant: str
    ) -> list[str]:
        """Record an emit step and its signal together; the ids of the runs it woke."""
        ...

    async def await_signal(self, claim: Claim, step: Step, wait: WaitFor, *, now: float) -> Step:
        """The wait's step after looking at the signals.

        A wait that has ended stays as it is. The earliest unused signal of the run's tenant that
        matches, came after the run was created and not after `due_at`, succeeds the step; past
        `due_at` the step fails; else it is waiting and the wait is open. Looking and opening are
        one change: no signal falls between.
        """
        ...

    async def start_child(self, claim: Claim, step: Step, child: Run) -> None:
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

    async def finish(self, claim: Claim, outcome: Outcome, *, now: float) -> list[str]:
        """End the run and wake its parent; the ids of the runs woken."""
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

    async def recover(self, *, now: float) -> int:
        """Take every claim from its (dead) worker; how many runs are queued again.

        Called by whoever has just become the only worker.
        """
        ...

    async def signal(self, tenant: str, name: str, data: str, *, now: float) -> list[str]:
        """Store a signal; the ids of the runs it woke."""
        ...

    async def wake(self, run_id: str, *, now: float) -> None:
        """Make a run that has not ended due now."""
        ...

    async def cancel(self, run_id: str, *, now: float) -> list[str]:
        """Cancel a run and its children: at once if nobody drives it, else by waking the driver.

        Returns the ids of the runs to wake. Raises `Conflict` if the run ended otherwise.
        """
        ...

    async def retry(self, run_id: str, *, now: float) -> list[str]:
        """Queue a failed or canceled run again, at the next attempt and a higher epoch.

        Finished steps are kept, but for what `forgotten_by_retry` names. A call that failed the
        run, or is open still, retries its child; the child of a forgotten call is canceled.
        Returns the ids of the runs to wake. Raises `Conflict` for a run in another state.
        """
        ...

    async def get(self, run_id: str) -> Run:
        """One run. Raises `NotFound`."""
        ...

    async def steps(self, run_id: str) -> list[Step]:
        """A run's steps, in the order of the calls."""
        ...

    async def list(self, wanted: RunFilter) -> Sequence[Run]:
        """Runs, newest first."""
        ...

    async def unfinished(self, tenant: str) -> Sequence[Run]:
        """Runs that have not ended, oldest first."""
        ...
