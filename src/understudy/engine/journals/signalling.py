"""How a signal finds the runs that wait for it, the runs that it cancels, those that it starts."""

from __future__ import annotations

import json
from collections.abc import Sequence

from understudy.db.tx import Tx
from understudy.engine.dotted import matches
from understudy.engine.interrupts import SupersededInterrupt
from understudy.engine.journal import wait_ended
from understudy.engine.journals import ending
from understudy.engine.journals import statements as sql
from understudy.engine.journals.ending import Endings
from understudy.engine.journals.recording import record, submit_once
from understudy.engine.journals.rows import as_json, step_of, step_row
from understudy.engine.run import Claim, Signal, Step, Submission, WaitFor


def signal(
    tx: Tx, endings: Endings, signal: Signal, starts: Sequence[Submission], now: float
) -> list[str]:
    """Store a signal, once for each idempotency key; the ids of the runs to look at."""
    said = {**signal._asdict(), "now": now}
    if not tx.execute(sql.INSERT_SIGNAL, said):
        return []
    data = json.loads(signal.data)
    woken: dict[str, None] = {}
    for run_id, key, fields in tx.rows(sql.WAITS_FOR, said):
        if not matches(data, json.loads(fields)):
            continue
        cancels = key.startswith("#")
        # Only an open run has waits.
        found = (
            [run_id, *endings.cancel(tx, run_id, now)]
            if cancels
            else ending.wake(tx, [run_id], now)
        )
        woken |= dict.fromkeys(found)
    for submission in starts:
        if submit_once(tx, submission) is submission.run:
            woken[submission.run.id] = None
    return list(woken)


def await_signal(
    tx: Tx, claim: Claim, step: Step, wait: WaitFor, *, now: float, change: int
) -> Step:
    """The wait's step after looking at the signals; looking and opening are one change."""
    if tx.row(sql.HELD, fence(claim)) is None:
        raise SupersededInterrupt
    run = ending.known_run(tx, claim.run_id)
    known = tx.row(sql.STEP, {"run_id": run.id, "key": step.key})
    if known is not None and (before := step_of(known)).ended_at is not None:
        return before
    wanted = {
        "run_id": run.id,
        "tenant": run.tenant,
        "name": wait.name,
        "fields": as_json(wait.match),
        "since": run.created_at,
        "due_at": wait.due_at,
        "key": step.key,
    }
    signals = tx.rows(sql.UNUSED_SIGNALS, wanted)
    used = next((s for s in signals if matches(json.loads(s[1]), wait.match)), None)
    numbered = step._replace(change=change)
    stands = wait_ended(numbered, wait, data=used[1] if used else None, now=now)
    record(tx, step_row(claim, stands, change))
    if used is not None:
        tx.execute(sql.USE_SIGNAL, {**wanted, "signal_id": used[0]})
    tx.execute(sql.OPEN_WAIT if stands.ended_at is None else sql.CLOSE_WAIT, wanted)
    return stands


def fence(claim: Claim) -> dict[str, object]:
    """What a row must hold for the claim to move it."""
    return {"run_id": claim.run_id, "token": claim.token, "epoch": claim.epoch}
