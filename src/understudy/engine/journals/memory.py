"""The journal in plain Python: for tests, and as the oracle that the database journal is held to.

Nothing survives the object. A method changes everything before its first await, so each is atomic.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from understudy.engine.interrupts import SupersededInterrupt
from understudy.engine.journal import Claims, forgotten_by_retry, wait_ended
from understudy.engine.run import (
    Claim,
    Claimed,
    Outcome,
    Run,
    RunFilter,
    Scope,
    Step,
    WaitFor,
    matches,
)
from understudy.errors import Conflict, NotFound


@dataclasses.dataclass(frozen=True, slots=True)
class _Signal:
    tenant: str
    name: str
    data: str
    created_at: float


class MemoryJournal:
    """Runs, steps and signals in dictionaries."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._steps: dict[str, dict[str, Step]] = {}
        self._signals: list[_Signal] = []
        # By run and step key: the name of an open wait, the number of a used signal.
        self._waits: dict[tuple[str, str], str] = {}
        self._uses: dict[tuple[str, str], int] = {}

    async def submit(self, run: Run) -> None:
        self._store(run)

    async def claim(self, worker: str, scope: Scope, *, limit: int, now: float) -> Claims:
        planned = sorted(
            (run.wake_at, order, run)
            for order, run in enumerate(self._runs.values())
            if run.wake_at is not None and run.claim is None and _within(scope, run)
        )
        due = [run for wake_at, _, run in planned if wake_at <= now]
        later = (wake_at for wake_at, _, _ in planned if wake_at > now)
        claimed = tuple(self._claim(run, worker, now) for run in due[:limit])
        return Claims(claimed, next(later, None))

    async def record(self, claim: Claim, step: Step) -> None:
        self._record(claim, step)

    async def emit(
        self, claim: Claim, step: Step, name: str, data: str, *, tenant: str
    ) -> list[str]:
        if not self._record(claim, step):
            return []
        return self._signal(_Signal(tenant, name, data, step.started_at))

    async def await_signal(self, claim: Claim, step: Step, wait: WaitFor, *, now: float) -> Step:
        run = self._held(claim)
        known = self._steps[run.id].get(step.key)
        if known is not None and known.ended_at is not None:
            return known
        used = next(self._answers(run, wait), None)
        stands = wait_ended(
            step, wait, data=None if used is None else self._signals[used].data, now=now
        )
        self._record(claim, stands)
        if used is not None:
            self._uses[run.id, step.key] = used
        if stands.ended_at is None:
            self._waits[run.id, step.key] = wait.name
        else:
            self._waits.pop((run.id, step.key), None)
        return stands

    async def start_child(self, claim: Claim, step: Step, child: Run) -> None:
        if self._record(claim, step):
            self._store(child)

    async def child_of(self, run_id: str, key: str) -> Run | None:
        return next(self._children(run_id, key), None)

    async def park(self, claim: Claim, until: float | None, waiting_for: Mapping[str, Any]) -> bool:
        run = self._held(claim)
        poked = run.wake_at is not None
        self._free(
            run,
            status="waiting",
            wake_at=run.wake_at if poked else until,
            waiting_for=dict(waiting_for),
        )
        return poked

    async def release(self, claim: Claim, *, now: float) -> None:
        run = self._held(claim)
        self._free(run, status="queued", wake_at=now, epoch=run.epoch + 1)

    async def finish(self, claim: Claim, outcome: Outcome, *, now: float) -> list[str]:
        run = self._held(claim)
        self._free(
            run,
            status=outcome.status,
            wake_at=None,
            waiting_for=None,
            output=outcome.output,
            error=outcome.error,
            ended_at=now,
        )
        return self._ended(run.id, now)

    def progress(self, claim: Claim, progress: Mapping[str, Any]) -> None:
        if self._holds(claim):
            self._change(claim.run_id, progress=dict(progress))

    async def take_poke(self, claim: Claim) -> bool:
        if not self._holds(claim):
            return False
        return self._change(claim.run_id, wake_at=None).cancel_requested_at is not None

    async def poked(self, worker: str, *, now: float) -> list[str]:
        return [
            run.id
            for run in self._runs.values()
            if run.worker == worker and run.wake_at is not None and run.wake_at <= now
        ]

    async def changed(self) -> bool:
        return False

    async def recover(self, *, now: float) -> int:
        lost = [run for run in self._runs.values() if run.worker is not None]
        for run in lost:
            self._free(run, status="queued", wake_at=now, epoch=run.epoch + 1)
        return len(lost)

    async def signal(self, tenant: str, name: str, data: str, *, now: float) -> list[str]:
        return self._signal(_Signal(tenant, name, data, now))

    async def wake(self, run_id: str, *, now: float) -> None:
        self._wake([run_id], now)

    async def cancel(self, run_id: str, *, now: float) -> list[str]:
        run = await self.get(run_id)
        if run.done and run.status != "canceled":
            raise Conflict(f"{run_id} has already {run.status}; there is nothing to cancel")
        return self._cancel(run_id, now)

    async def retry(self, run_id: str, *, now: float) -> list[str]:
        run = await self.get(run_id)
        if run.status not in {"failed", "canceled"}:
            raise Conflict(
                f"{run_id} is {run.status}; only a failed or canceled run can be retried"
            )
        return self._retry(run, now)

    async def get(self, run_id: str) -> Run:
        if run_id not in self._runs:
            raise NotFound(f"no run has the id {run_id!r}")
        return self._runs[run_id]

    async def steps(self, run_id: str) -> list[Step]:
        return self._remembered(run_id)

    # Rows.

    def _store(self, run: Run) -> None:
        self._runs[run.id] = run
        self._steps[run.id] = {}

    def _change(self, run_id: str, **values: Any) -> Run:
        self._runs[run_id] = changed = self._runs[run_id]._replace(**values)
        return changed

    def _free(self, run: Run, **values: Any) -> None:
        self._change(run.id, claim=None, worker=None, **values)

    def _holds(self, claim: Claim) -> bool:
        run = self._runs[claim.run_id]
        return (run.claim, run.epoch) == (claim.token, claim.epoch)

    def _held(self, claim: Claim) -> Run:
        if not self._holds(claim):
            raise SupersededInterrupt
        return self._runs[claim.run_id]

    def _claim(self, run: Run, worker: str, now: float) -> Claimed:
        claim = Claim(run.id, secrets.token_hex(16), run.epoch)
        self._change(
            run.id,
            status="running",
            claim=claim.token,
            worker=worker,
            wake_at=None,
            waiting_for=None,
            started_at=now if run.started_at is None else run.started_at,
        )
        return Claimed(run, claim, tuple(self._remembered(run.id)))

    def _remembered(self, run_id: str) -> list[Step]:
        return sorted(self._steps.get(run_id, {}).values(), key=lambda step: step.seq)

    def _record(self, claim: Claim, step: Step) -> bool:
        """Whether the step changed. It does not when it has ended before."""
        steps = self._steps[self._held(claim).id]
        known = steps.get(step.key)
        if known is not None and known.ended_at is not None:
            return False
        if known is not None:
            step = step._replace(seq=known.seq, kind=known.kind, started_at=known.started_at)
        steps[step.key] = step
        return True

    def _children(self, run_id: str, key: str | None = None) -> Iterator[Run]:
        return (
            run
            for run in list(self._runs.values())
            if run.parent_id == run_id and key in {None, run.parent_key}
        )

    # Signals.

    def _signal(self, signal: _Signal) -> list[str]:
        self._signals.append(signal)
        waiting = {
            run_id: None
            for (run_id, _), name in self._waits.items()
            if name == signal.name and self._runs[run_id].tenant == signal.tenant
        }
        return self._wake(waiting, signal.created_at)

    def _answers(self, run: Run, wait: WaitFor) -> Iterator[int]:
        """The numbers of the signals that may still end the wait, the first one first."""
        used = {number for (run_id, _), number in self._uses.items() if run_id == run.id}
        for number, signal in enumerate(self._signals):
            if (
                number not in used
                and (signal.tenant, signal.name) == (run.tenant, wait.name)
                and run.created_at <= signal.created_at
                and (wait.due_at is None or signal.created_at <= wait.due_at)
                and matches(json.loads(signal.data), wait.match)
            ):
                yield number

    def _wake(self, run_ids: Iterable[str], now: float) -> list[str]:
        open_runs = [run_id for run_id in run_ids if not self._runs[run_id].done]
        for run_id in open_runs:
            self._change(run_id, wake_at=now)
        return open_runs

    # Ends.

    def _ended(self, run_id: str, now: float) -> list[str]:
        """What follows from a run's end: its waits close, its parent wakes, its children go too."""
        run = self._runs[run_id]
        for key in self._steps[run_id]:
            self._waits.pop((run_id, key), None)
        woken: list[str] = []
        if run.status == "canceled":
            for child in self._children(run_id):
                woken += self._cancel(child.id, now)
        return woken + self._wake([run.parent_id] if run.parent_id else [], now)

    def _cancel(self, run_id: str, now: float) -> list[str]:
        run = self._runs[run_id]
        if run.done:
            return []
        if run.claim is None:
            self._change(
                run_id,
                status="canceled",
                wake_at=None,
                waiting_for=None,
                cancel_requested_at=now,
                ended_at=now,
            )
            return self._ended(run_id, now)
        since = now if run.cancel_requested_at is None else run.cancel_requested_at
        self._change(run_id, cancel_requested_at=since, wake_at=now)
        return [run_id]

    def _retry(self, run: Run, now: float) -> list[str]:
        self._change(
            run.id,
            status="queued",
            wake_at=now,
            attempt=run.attempt + 1,
            epoch=run.epoch + 1,
            error=None,
            ended_at=None,
            cancel_requested_at=None,
        )
        woken = [run.id]
        for step in forgotten_by_retry(self._remembered(run.id), run.error):
            woken += self._forget(run.id, step, now)
        steps = self._steps[run.id]
        for child in self._children(run.id):
            call = steps.get(child.parent_key or "")
            waits = call is not None and call.ended_at is None
            if waits and child.status in {"failed", "canceled"}:
                woken += self._retry(child, now)
        return woken

    def _forget(self, run_id: str, step: Step, now: float) -> list[str]:
        if step.kind == "call" and step.state == "failed":
            self._steps[run_id][step.key] = step._replace(
                state="waiting", error=None, ended_at=None
            )
            return []
        del self._steps[run_id][step.key]
        self._uses.pop((run_id, step.key), None)
        woken: list[str] = []
        for child in self._children(run_id, step.key):
            self._change(child.id, parent_id=None, parent_key=None)
            woken += self._cancel(child.id, now)
        return woken

    # Lists. (Last, for the name `list` means this method from here on.)

    async def list(self, wanted: RunFilter) -> Sequence[Run]:
        found = [
            run
            for run in self._runs.values()
            if run.tenant == wanted.tenant
            and wanted.operation in {None, run.operation}
            and wanted.status in {None, run.status}
        ]
        return sorted(found, key=lambda run: run.id, reverse=True)[: wanted.limit]

    async def unfinished(self, tenant: str) -> Sequence[Run]:
        found = [run for run in self._runs.values() if run.tenant == tenant and not run.done]
        return sorted(found, key=lambda run: run.id)


def _within(scope: Scope, run: Run) -> bool:
    mine = scope.root is None or run.root_id == scope.root
    recent = scope.since is not None and run.created_at >= scope.since
    return run.operation in scope.operations and (mine or recent)
