"""The journal in the database: every change is one unit of the group commit."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from understudy.db.database import Database, Statement, Tx
from understudy.engine.change import Look, Seen
from understudy.engine.interrupts import SupersededInterrupt
from understudy.engine.journal import Claims, Overdue, Past, Slot
from understudy.engine.journals import accepting, ending, looking, recording, signalling, upkeep
from understudy.engine.journals import statements as sql
from understudy.engine.journals.beating import Beats
from understudy.engine.journals.claiming import Claiming, freed
from understudy.engine.journals.rows import as_json, run_of, step_row
from understudy.engine.journals.signalling import fence
from understudy.engine.run import (
    Claim,
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
)
from understudy.errors import Conflict, KeyReused

T = TypeVar("T")


def _nothing(_: Run) -> Sequence[WaitFor]:
    """No signal cancels the run."""
    return ()


def _nobody(_: Run) -> None:
    """Nobody tells webhooks."""


def _unwatched(_: str) -> None:
    """Nobody watches runs."""


class DatabaseJournal:
    """Runs, steps and signals in one database.

    When a run with a webhook ends, by whatever path, the run that `tells` of it is queued in the
    same change. It is called in the writer's thread with the run as it ended.
    """

    def __init__(self, database: Database, tells: ending.Then = _nobody) -> None:
        self._database = database
        self._endings = ending.Endings(tells)
        self._claiming: Claiming | None = None
        self._tell: Callable[[str], None] = _unwatched

    # What callers ask for.

    async def submit(self, submission: Submission, request: Request | None = None) -> Run:
        plain = recording.is_plain(submission)
        if request is None:
            if plain:
                await self._database.write_row(recording.SUBMIT, submission.run)
                return submission.run
            return await self._database.write(lambda tx: recording.submit_once(tx, submission))
        if not plain:
            return await self._database.write(
                lambda tx: accepting.accept_once(tx, submission, request)
            )
        asked = accepting.Asked(submission.run, request)
        await self._database.write_row(accepting.ACCEPT, asked)
        if isinstance(asked.answer, KeyReused):
            raise asked.answer
        return asked.answer

    async def signal(
        self, signal: Signal, starts: Sequence[Submission] = (), *, now: float
    ) -> list[str]:
        return await self._database.write(
            lambda tx: signalling.signal(tx, self._endings, signal, starts, now)
        )

    async def wake(self, run_id: str, *, now: float) -> None:
        wake = self._database.write(lambda tx: ending.wake(tx, [run_id], now))
        await self._moving(run_id, wake)

    async def cancel(self, run_id: str, *, now: float) -> list[str]:
        def unit(tx: Tx) -> list[str]:
            run = ending.known_run(tx, run_id)
            if run.done and run.status != "canceled":
                raise Conflict(f"{run_id} has already {run.status}; there is nothing to cancel")
            return self._endings.cancel(tx, run_id, now)

        return await self._moving(run_id, self._database.write(unit))

    async def retry(
        self, run_id: str, *, now: float, cancels: ending.Cancels = _nothing
    ) -> list[str]:
        retry = self._database.write(
            lambda tx: self._endings.retry(tx, ending.known_run(tx, run_id), now, cancels)
        )
        return await self._moving(run_id, retry)

    async def fork(self, run_id: str, key: str | None, submission: Submission) -> None:
        await self._database.write(lambda tx: ending.fork(tx, run_id, key, submission))

    # What drives a run.

    async def claim(self, worker: str, scope: Scope, *, limit: int, now: float) -> Claims:
        claiming = self._claiming
        if claiming is None or claiming.scope is not scope:
            claiming = self._claiming = Claiming(scope)
        claims = await self._database.write(
            lambda tx: claiming.claim(tx, worker, limit, now), alone=claiming.alone
        )
        for claimed in claims.runs:
            self._tell(claimed.run.id)
        return claims

    async def record(self, claim: Claim, step: Step) -> None:
        row = step_row(claim, step, next(claim.changes))
        await self._database.write_row(recording.RECORD, row)
        self._tell(claim.run_id)

    async def emit(
        self, claim: Claim, step: Step, signal: Signal, starts: Sequence[Submission] = ()
    ) -> list[str]:
        row = step_row(claim, step, next(claim.changes))

        def unit(tx: Tx) -> list[str]:
            if not recording.record(tx, row):
                return []
            return signalling.signal(tx, self._endings, signal, starts, step.started_at)

        return await self._moving(claim.run_id, self._database.write(unit))

    async def await_signal(self, claim: Claim, step: Step, wait: WaitFor, *, now: float) -> Step:
        change = next(claim.changes)
        look = self._database.write(
            lambda tx: signalling.await_signal(tx, claim, step, wait, now=now, change=change)
        )
        return await self._moving(claim.run_id, look)

    async def start_child(self, claim: Claim, step: Step, child: Submission) -> None:
        row = step_row(claim, step, next(claim.changes))

        def unit(tx: Tx) -> None:
            if recording.record(tx, row):
                recording.submit(tx, child)

        await self._moving(claim.run_id, self._database.write(unit))

    async def child_of(self, run_id: str, key: str) -> Run | None:
        wanted = {"run_id": run_id, "key": key}
        row = await self._database.read(lambda tx: tx.row(sql.CHILD, wanted))
        return None if row is None else run_of(row)

    async def park(self, claim: Claim, until: float | None, waiting_for: Mapping[str, Any]) -> bool:
        said = {**fence(claim), "until": until, "waiting_for": as_json(waiting_for)}

        def unit(tx: Tx) -> bool:
            poked = tx.scalar(sql.WAKE_AT, said) is not None
            _move(tx, sql.PARK, said)
            freed(tx, claim.lane, claim.concurrency_key)
            return poked

        alone = claim.concurrency_key is not None
        return await self._moving(claim.run_id, self._database.write(unit, alone=alone))

    async def release(self, claim: Claim, *, now: float) -> None:
        def unit(tx: Tx) -> None:
            _move(tx, sql.RELEASE, {**fence(claim), "now": now})
            tx.announce()

        await self._moving(claim.run_id, self._database.write(unit, alone=False))

    async def finish(
        self, claim: Claim, outcome: Outcome, *, now: float, then: Submission | None = None
    ) -> list[str]:
        row = recording.finish_row(claim, outcome, now)
        concerned = claim.parent_id or claim.lane or then or ending.ends_children(outcome)
        if not concerned and claim.webhook is None:
            await self._database.write_row(recording.FINISH, row)
            woken: list[str] = []
        else:
            woken = await self._database.write(
                lambda tx: _finish(tx, self._endings, claim, outcome, now, then),
                alone=bool(concerned),
            )
        self._tell(claim.run_id)
        return woken

    def progress(self, claim: Claim, progress: Mapping[str, Any]) -> None:
        row = (claim.run_id, claim.token, claim.epoch, as_json(progress))
        self._database.post_row(recording.PROGRESS, row)

    async def take_poke(self, claim: Claim) -> bool:
        said = fence(claim)

        def unit(tx: Tx) -> bool:
            canceled = tx.scalar(sql.CANCEL_REQUESTED, said) is not None
            tx.execute(sql.TAKE_POKE, said)
            return canceled

        return await self._database.write(unit, alone=False)

    async def poked(self, worker: str, *, now: float) -> list[str]:
        said = {"worker": worker, "now": now}
        rows = await self._database.read(lambda tx: tx.rows(sql.POKED, said))
        return [row[0] for row in rows]

    async def changed(self) -> bool:
        return await self._database.changed()

    def on_change(self, tell: Callable[[], None]) -> None:
        self._database.on_change(tell)

    # What keeps workers and queues going.

    async def enlist(self, worker: str, *, lease: float, info: Mapping[str, Any]) -> None:
        shared, said = self._database.shared, {"name": worker, "info": as_json(info)}

        def unit(tx: Tx) -> None:
            now = tx.now(info["started_at"])
            tx.execute(upkeep.ENLIST, {**said, "now": now, "lease_until": now + lease})
            if not shared:  # whoever else is in the list is dead
                tx.execute(upkeep.ALONE, said)

        await self._database.write(unit)

    async def recover(self, *, now: float) -> list[str]:
        def unit(tx: Tx) -> list[str]:
            said = {"now": now, "alive_at": tx.now(now)}
            found = [run_id for (run_id,) in tx.rows(upkeep.RECOVER, said)]
            tx.execute(upkeep.FORGET_WORKERS, said)
            if found:
                tx.announce()
            return found

        return await self._database.write(unit)

    def beats(self, worker: str, *, lease: float, every: float) -> Beats:
        return Beats(self._database, worker, lease, every)

    async def leave(self, worker: str) -> None:
        await self._database.write(lambda tx: tx.execute(upkeep.LEAVE, {"name": worker}))

    async def unhold(self) -> None:
        await self._database.write(lambda tx: tx.rows(upkeep.UNHOLD_FIRST))

    async def fail_overdue(self, overdue: Overdue, *, now: float) -> list[str]:
        def unit(tx: Tx) -> list[str]:
            return self._endings.fail_overdue(tx, tx.now(now), overdue)

        return await self._database.write(unit)

    async def slots(self, tenant: str) -> dict[str, Slot]:
        rows = await self._database.read(lambda tx: tx.rows(upkeep.SCHEDULES, {"tenant": tenant}))
        return {operation: Slot(cron, next_at) for operation, cron, next_at in rows}

    async def schedule(
        self,
        tenant: str,
        operation: str,
        slot: Slot,
        *,
        expected: Slot | None,
        starts: Sequence[Submission] = (),
    ) -> bool:
        said = {
            "tenant": tenant,
            "operation": operation,
            "cron": slot.cron,
            "next_at": slot.next_at,
            "expected_cron": expected.cron if expected else None,
            "expected_at": expected.next_at if expected else None,
        }

        def unit(tx: Tx) -> bool:
            if not tx.execute(upkeep.SCHEDULE, said):
                return False
            for submission in starts:
                recording.submit_once(tx, submission)
            return True

        return await self._database.write(unit)

    async def forget(self, past: Past) -> int:
        said = dataclasses.asdict(past)
        runs = [(run_id,) for (run_id,) in await self._read_rows(upkeep.PAST, said)]

        def unit(tx: Tx) -> int:
            # One that was retried since stays, with what it remembers.
            runs_still = tx.rows_of(upkeep.STILL_PAST, runs)
            tx.execute_rows(upkeep.FORGET_STEPS_OF, runs_still)
            tx.execute_rows(upkeep.FORGET_RUNS, runs_still)
            if past.status:
                return len(runs_still)
            others = tx.execute(upkeep.FORGET_SIGNALS, said)
            return len(runs_still) + others + tx.execute(upkeep.FORGET_REQUESTS, said)

        return await self._database.write(unit)

    # What can be seen.

    def on_write(self, tell: Callable[[str], None] | None) -> None:
        self._tell = tell or _unwatched

    async def changes(self, looks: Sequence[Look]) -> Sequence[Seen]:
        return await self._database.read(lambda tx: looking.changes(tx, looks))

    async def place(self, run: Run) -> int | None:
        return await self._database.read(lambda tx: looking.place(tx, run))

    async def get(self, run_id: str) -> Run:
        return await self._database.read(lambda tx: ending.known_run(tx, run_id))

    async def steps(self, run_id: str) -> list[Step]:
        return await self._database.read(lambda tx: ending.steps(tx, run_id))

    async def workers(self) -> Sequence[WorkerRow]:
        rows = await self._database.read(lambda tx: tx.rows(upkeep.WORKERS))
        return [
            WorkerRow(name, until, since, json.loads(info), driving)
            for name, until, since, info, driving in rows
        ]

    async def queues(self, *, now: float, tenant: str | None = None) -> Sequence[QueueRow]:
        said = {"now": now, "tenant": tenant}
        return [QueueRow(*row) for row in await self._read_rows(upkeep.QUEUES, said)]

    async def list(self, wanted: RunFilter) -> Sequence[Run]:
        if wanted.user is None:
            runs = sql.OPEN_RUNS if wanted.unfinished else sql.RUNS
        else:
            runs = sql.OPEN_RUNS_OF_USER if wanted.unfinished else sql.RUNS_OF_USER
        return [run_of(row) for row in await self._read_rows(runs, dataclasses.asdict(wanted))]

    async def unfinished(self, tenant: str) -> Sequence[Run]:
        return [run_of(row) for row in await self._read_rows(sql.UNFINISHED, {"tenant": tenant})]

    async def _moving(self, run_id: str, write: Awaitable[T]) -> T:
        """The answer of a write that changes this run, which whoever watches it then looks at."""
        answer = await write
        self._tell(run_id)
        return answer

    async def _read_rows(self, statement: Statement, said: Mapping[str, object]) -> Any:
        return await self._database.read(lambda tx: tx.rows(statement, said))


def _finish(
    tx: Tx,
    endings: ending.Endings,
    claim: Claim,
    outcome: Outcome,
    now: float,
    then: Submission | None,
) -> list[str]:
    error = as_json(outcome.error)
    said = {**fence(claim), "status": outcome.status, "output": outcome.output, "error": error}
    _move(tx, sql.FINISH, {**said, "now": now})
    goes = ending.ends_children(outcome)
    woken = endings.ended(tx, claim.run_id, now, with_children=goes)
    if then is not None:
        recording.submit(tx, then)
        woken.append(then.run.id)
    return woken


def _move(tx: Tx, statement: Statement, said: Mapping[str, Any]) -> None:
    if not tx.execute(statement, said):
        raise SupersededInterrupt
