"""The journal in the database: every change is one unit of the group commit."""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import text

from understudy.db.database import Database
from understudy.db.statement import Statement
from understudy.db.tx import Row, Tx
from understudy.engine.interrupts import SupersededInterrupt
from understudy.engine.journal import Claims, forgotten_by_retry, wait_ended
from understudy.engine.journals import statements as sql
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

_ARTIFACT_IDS = re.compile(r'"(art_[0-9a-z]{26})"')


class DatabaseJournal:
    """Runs, steps and signals in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._due: dict[tuple[str, ...], tuple[Statement, Statement]] = {}

    async def submit(self, run: Run) -> None:
        await self._database.write(lambda tx: _submit(tx, run))

    async def claim(self, worker: str, scope: Scope, *, limit: int, now: float) -> Claims:
        due, next_due = self._due_statements(scope.operations)
        wanted = {"now": now, "limit": limit, "root": scope.root, "since": scope.since}

        def unit(tx: Tx) -> Claims:
            token = secrets.token_hex(16)
            claimed = tuple(
                _claim(tx, _run(row), {"token": f"{token}-{index}", "worker": worker, "now": now})
                for index, row in enumerate(tx.rows(due, wanted))
            )
            # More may be due already when the batch was full; the caller then asks again.
            return Claims(claimed, tx.scalar(next_due, wanted))

        return await self._database.write(unit)

    async def record(self, claim: Claim, step: Step) -> None:
        row = _step_row(claim, step)
        await self._database.write(lambda tx: _record(tx, claim, row))

    async def emit(
        self, claim: Claim, step: Step, name: str, data: str, *, tenant: str
    ) -> list[str]:
        row = _step_row(claim, step)

        def unit(tx: Tx) -> list[str]:
            if not _record(tx, claim, row):
                return []
            return _signal(tx, tenant, name, data, step.started_at)

        return await self._database.write(unit)

    async def await_signal(self, claim: Claim, step: Step, wait: WaitFor, *, now: float) -> Step:
        def unit(tx: Tx) -> Step:
            run = _held_run(tx, claim)
            known = tx.row(sql.STEP, {"run_id": run.id, "key": step.key})
            if known is not None and _step(known).ended_at is not None:
                return _step(known)
            wanted = {
                "run_id": run.id,
                "tenant": run.tenant,
                "name": wait.name,
                "since": run.created_at,
                "due_at": wait.due_at,
                "key": step.key,
            }
            signals = tx.rows(sql.UNUSED_SIGNALS, wanted)
            used = next((s for s in signals if matches(json.loads(s[1]), wait.match)), None)
            stands = wait_ended(step, wait, data=used[1] if used else None, now=now)
            _record(tx, claim, _step_row(claim, stands))
            if used is not None:
                tx.execute(sql.USE_SIGNAL, wanted | {"signal_id": used[0]})
            tx.execute(sql.OPEN_WAIT if stands.ended_at is None else sql.CLOSE_WAIT, wanted)
            return stands

        return await self._database.write(unit)

    async def start_child(self, claim: Claim, step: Step, child: Run) -> None:
        def unit(tx: Tx) -> None:
            if _record(tx, claim, _step_row(claim, step)):
                _submit(tx, child)

        await self._database.write(unit)

    async def child_of(self, run_id: str, key: str) -> Run | None:
        wanted = {"run_id": run_id, "key": key}
        row = await self._database.read(lambda tx: tx.row(sql.CHILD, wanted))
        return None if row is None else _run(row)

    async def park(self, claim: Claim, until: float | None, waiting_for: Mapping[str, Any]) -> bool:
        said = {**_fence(claim), "until": until, "waiting_for": _json(waiting_for)}

        def unit(tx: Tx) -> bool:
            poked = tx.scalar(sql.WAKE_AT, said) is not None
            _move(tx, sql.PARK, said)
            return poked

        return await self._database.write(unit)

    async def release(self, claim: Claim, *, now: float) -> None:
        said = {**_fence(claim), "now": now}
        await self._database.write(lambda tx: _move(tx, sql.RELEASE, said))

    async def finish(self, claim: Claim, outcome: Outcome, *, now: float) -> list[str]:
        said = {
            **_fence(claim),
            "status": outcome.status,
            "output": outcome.output,
            "error": _json(outcome.error),
            "now": now,
        }

        def unit(tx: Tx) -> list[str]:
            _move(tx, sql.FINISH, said)
            return _ended(tx, claim.run_id, outcome.status, now)

        return await self._database.write(unit)

    def progress(self, claim: Claim, progress: Mapping[str, Any]) -> None:
        said = {**_fence(claim), "progress": _json(progress)}
        self._database.post(lambda tx: tx.execute(sql.PROGRESS, said))

    async def take_poke(self, claim: Claim) -> bool:
        said = _fence(claim)

        def unit(tx: Tx) -> bool:
            canceled = tx.scalar(sql.CANCEL_REQUESTED, said) is not None
            tx.execute(sql.TAKE_POKE, said)
            return canceled

        return await self._database.write(unit)

    async def poked(self, worker: str, *, now: float) -> list[str]:
        said = {"worker": worker, "now": now}
        rows = await self._database.read(lambda tx: tx.rows(sql.POKED, said))
        return [row[0] for row in rows]

    async def changed(self) -> bool:
        return await self._database.changed()

    async def recover(self, *, now: float) -> int:
        return await self._database.write(lambda tx: tx.execute(sql.RECOVER, {"now": now}))

    async def signal(self, tenant: str, name: str, data: str, *, now: float) -> list[str]:
        return await self._database.write(lambda tx: _signal(tx, tenant, name, data, now))

    async def wake(self, run_id: str, *, now: float) -> None:
        await self._database.write(lambda tx: _wake(tx, [run_id], now))

    async def cancel(self, run_id: str, *, now: float) -> list[str]:
        def unit(tx: Tx) -> list[str]:
            run = _known_run(tx, run_id)
            if run.done and run.status != "canceled":
                raise Conflict(f"{run_id} has already {run.status}; there is nothing to cancel")
            return _cancel(tx, run_id, now)

        return await self._database.write(unit)

    async def retry(self, run_id: str, *, now: float) -> list[str]:
        return await self._database.write(lambda tx: _retry(tx, _known_run(tx, run_id), now))

    async def get(self, run_id: str) -> Run:
        return await self._database.read(lambda tx: _known_run(tx, run_id))

    async def steps(self, run_id: str) -> list[Step]:
        return await self._database.read(lambda tx: _steps(tx, run_id))

    async def list(self, wanted: RunFilter) -> Sequence[Run]:
        said = dataclasses.asdict(wanted)
        return [_run(row) for row in await self._database.read(lambda tx: tx.rows(sql.RUNS, said))]

    async def unfinished(self, tenant: str) -> Sequence[Run]:
        said = {"tenant": tenant}
        rows = await self._database.read(lambda tx: tx.rows(sql.UNFINISHED, said))
        return [_run(row) for row in rows]

    def _due_statements(self, operations: tuple[str, ...]) -> tuple[Statement, Statement]:
        """Which runs are due, and when the next one will be; operations are part of the SQL."""
        if operations not in self._due:
            # Names are checked by @operation and hold no quotes.
            names = ", ".join(f"'{name}'" for name in operations) or "NULL"
            scope = (
                f"claim IS NULL AND operation IN ({names}) "
                "AND (:root IS NULL OR root_id = :root OR created_at >= :since)"
            )
            self._due[operations] = (
                Statement(
                    text(
                        f"SELECT {sql.RUN_COLUMNS} FROM runs WHERE wake_at <= :now AND {scope} "  # noqa: S608
                        "ORDER BY wake_at LIMIT :limit"
                    )
                ),
                Statement(text(f"SELECT min(wake_at) FROM runs WHERE wake_at > :now AND {scope}")),  # noqa: S608
            )
        return self._due[operations]


def _submit(tx: Tx, run: Run) -> None:
    tx.execute(sql.INSERT_RUN, _run_row(run))
    for artifact_id in set(_ARTIFACT_IDS.findall(run.input)):
        said = {"run_id": run.id, "tenant": run.tenant, "artifact_id": artifact_id}
        tx.execute(sql.BIND_INPUT, said)


def _claim(tx: Tx, run: Run, said: Mapping[str, Any]) -> Claimed:
    tx.execute(sql.CLAIM, {**said, "run_id": run.id})
    claim = Claim(run.id, said["token"], run.epoch)
    # A run that never started remembers nothing.
    steps = () if run.started_at is None else tuple(_steps(tx, run.id))
    return Claimed(run, claim, steps)


def _move(tx: Tx, statement: Statement, said: Mapping[str, Any]) -> None:
    if not tx.execute(statement, said):
        raise SupersededInterrupt


def _record(tx: Tx, claim: Claim, row: Mapping[str, Any]) -> bool:
    """Whether the step changed. It does not when it has ended before."""
    if tx.execute(sql.RECORD, row):
        return True
    if tx.row(sql.HELD, _fence(claim)) is None:
        raise SupersededInterrupt
    return False


def _held_run(tx: Tx, claim: Claim) -> Run:
    if tx.row(sql.HELD, _fence(claim)) is None:
        raise SupersededInterrupt
    return _known_run(tx, claim.run_id)


def _known_run(tx: Tx, run_id: str) -> Run:
    row = tx.row(sql.RUN, {"id": run_id})
    if row is None:
        raise NotFound(f"no run has the id {run_id!r}")
    return _run(row)


def _signal(tx: Tx, tenant: str, name: str, data: str, now: float) -> list[str]:
    said = {"tenant": tenant, "name": name, "data": data, "now": now}
    tx.execute(sql.INSERT_SIGNAL, said)
    return _wake(tx, [row[0] for row in tx.rows(sql.WAITING_RUNS, said)], now)


def _wake(tx: Tx, run_ids: list[str], now: float) -> list[str]:
    return [run_id for run_id in run_ids if tx.execute(sql.WAKE, {"run_id": run_id, "now": now})]


def _ended(tx: Tx, run_id: str, status: str, now: float) -> list[str]:
    """What follows from a run's end: its waits close, its parent wakes, its children go with it."""
    tx.execute(sql.CLOSE_WAITS, {"run_id": run_id})
    woken = []
    if status == "canceled":
        for (child,) in tx.rows(sql.OPEN_CHILDREN, {"run_id": run_id}):
            woken += _cancel(tx, child, now)
    parent = tx.scalar(sql.PARENT, {"run_id": run_id})
    return woken + (_wake(tx, [parent], now) if parent else [])


def _cancel(tx: Tx, run_id: str, now: float) -> list[str]:
    said = {"run_id": run_id, "now": now}
    if tx.execute(sql.CANCEL_AT_ONCE, said):
        return _ended(tx, run_id, "canceled", now)
    return [run_id] if tx.execute(sql.REQUEST_CANCEL, said) else []


def _retry(tx: Tx, run: Run, now: float) -> list[str]:
    said = {"run_id": run.id, "now": now}
    if not tx.execute(sql.RETRY, said):
        raise Conflict(f"{run.id} is {run.status}; only a failed or canceled run can be retried")
    woken = [run.id]
    for step in forgotten_by_retry(_steps(tx, run.id), run.error):
        woken += _forget(tx, run.id, step, now)
    for (child,) in tx.rows(sql.UNWELL_CHILDREN, said):
        woken += _retry(tx, _known_run(tx, child), now)
    return woken


def _forget(tx: Tx, run_id: str, step: Step, now: float) -> list[str]:
    said = {"run_id": run_id, "key": step.key}
    if step.kind == "call" and step.state == "failed":
        tx.execute(sql.REOPEN, said)
        return []
    tx.execute(sql.FORGET, said)
    tx.execute(sql.FORGET_USE, said)
    child = tx.row(sql.CHILD, said)
    if child is None:
        return []
    tx.execute(sql.FORGET_CHILD, said)
    return _cancel(tx, _run(child).id, now)


def _steps(tx: Tx, run_id: str) -> list[Step]:
    return [_step(row) for row in tx.rows(sql.STEPS, {"run_id": run_id})]


def _fence(claim: Claim) -> dict[str, Any]:
    return {"run_id": claim.run_id, "token": claim.token, "epoch": claim.epoch}


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)


_RUN_PARAMETERS = tuple(sql.RUN_COLUMNS.split(", "))
_RUN_JSON = tuple(Run._fields.index(name) for name in ("waiting_for", "progress", "error"))
_STEP_ERROR = Step._fields.index("error")


def _run(row: Row) -> Run:
    values = list(row)
    for index in _RUN_JSON:
        if values[index] is not None:
            values[index] = json.loads(values[index])
    return Run(*values)


def _run_row(run: Run) -> dict[str, Any]:
    values = list(run)
    for index in _RUN_JSON:
        values[index] = _json(values[index])
    return dict(zip(_RUN_PARAMETERS, values, strict=True))


def _step(row: Row) -> Step:
    if row[_STEP_ERROR] is None:
        return Step(*row)
    values = list(row)
    values[_STEP_ERROR] = json.loads(values[_STEP_ERROR])
    return Step(*values)


def _step_row(claim: Claim, step: Step) -> dict[str, Any]:
    return {
        "run_id": claim.run_id,
        "token": claim.token,
        "epoch": claim.epoch,
        "key": step.key,
        "seq": step.seq,
        "name": step.name,
        "kind": step.kind,
        "state": step.state,
        "attempt": step.attempt,
        "due_at": step.due_at,
        "result": step.result,
        "error": _json(step.error),
        "started_at": step.started_at,
        "ended_at": step.ended_at,
    }
