"""Units of work of a driven run, as rows that many callers bring at once."""

from __future__ import annotations

import re
from collections.abc import Sequence

from understudy.db.database import Bulk
from understudy.db.tx import Row, Tx
from understudy.engine.interrupts import SupersededInterrupt
from understudy.engine.journals import statements as sql
from understudy.engine.journals.rows import as_json, new_run_row, run_of
from understudy.engine.run import Claim, Outcome, Run, Submission, WaitFor

_ARTIFACT_IDS = re.compile(r'"(art_[0-9a-z]{26})"')
_RUN_ID, _TOKEN = 0, 1  # in a row


def is_plain(submission: Submission) -> bool:
    """Whether nothing but the run's own row is to be written."""
    run = submission.run
    return run.idempotency_key is None and not submission.cancels and "art_" not in run.input


def submit(tx: Tx, submission: Submission) -> None:
    """Store a new run with what belongs to it."""
    run = submission.run
    submit_many(tx, [run])
    for artifact_id in set(_ARTIFACT_IDS.findall(run.input)):
        said = {"run_id": run.id, "tenant": run.tenant, "artifact_id": artifact_id}
        tx.execute(sql.BIND_INPUT, said)
    listen(tx, run, submission.cancels)


def listen(tx: Tx, run: Run, cancels: Sequence[WaitFor]) -> None:
    """Open a run to the signals that would cancel it."""
    for index, cancel in enumerate(cancels):
        said = {"run_id": run.id, "key": f"#cancel{index}", "tenant": run.tenant}
        tx.execute(sql.OPEN_WAIT, {**said, "name": cancel.name, "fields": as_json(cancel.match)})


def submit_once(tx: Tx, submission: Submission) -> Run:
    """The run, or the one that was submitted before with its idempotency key."""
    run = submission.run
    if run.idempotency_key is not None:
        before = tx.row(sql.SAME_KEY, run._asdict())
        if before is not None:
            return run_of(before)
    submit(tx, submission)
    return run


def record(tx: Tx, row: Row) -> bool:
    """Whether the step changed; it does not when it has ended before."""
    if tx.execute_rows(sql.RECORD, [row]):
        return True
    if tx.row(sql.CLAIMED, {"run_id": row[_RUN_ID], "token": row[_TOKEN]}) is None:
        raise SupersededInterrupt
    return False


def finish_row(claim: Claim, outcome: Outcome, now: float) -> Row:
    """How a run ends, as a row of `FINISH`."""
    error = as_json(outcome.error)
    return (claim.run_id, claim.token, claim.epoch, outcome.status, outcome.output, error, now)


def submit_many(tx: Tx, runs: Sequence[Run]) -> None:
    """Store new runs that have nothing besides their rows."""
    tx.execute_rows(sql.INSERT_RUNS, [new_run_row(run) for run in runs])
    tx.announce()


def _progress_many(tx: Tx, rows: Sequence[Row]) -> None:
    last = {row[_RUN_ID]: row for row in rows}
    tx.execute_rows(sql.PROGRESS, list(last.values()))


def _record_many(tx: Tx, rows: Sequence[Row]) -> None:
    if len(rows) == 1:
        record(tx, rows[0])
    elif tx.execute_rows(sql.RECORD, rows) != len(rows):
        raise SupersededInterrupt  # one of them: each is then looked at alone


def _finish_many(tx: Tx, rows: Sequence[Row]) -> None:
    if tx.execute_rows(sql.FINISH_MANY, rows) != len(rows):
        raise SupersededInterrupt  # the same
    tx.execute_rows(sql.CLOSE_WAITS_OF, [(row[_RUN_ID],) for row in rows])


# What a caller posted before it ended the run is written before the end.
SUBMIT = Bulk(0, submit_many)
PROGRESS = Bulk(1, _progress_many)
RECORD = Bulk(2, _record_many)
FINISH = Bulk(3, _finish_many)
