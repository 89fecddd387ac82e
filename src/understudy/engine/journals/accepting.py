"""New runs by request: whoever asks the same again is answered by the run of the first time."""

from __future__ import annotations

from collections.abc import Sequence

from understudy.db.database import Bulk, RowsStatement
from understudy.db.statement import sql as statement
from understudy.db.tx import Tx
from understudy.engine.journals import statements as sql
from understudy.engine.journals.recording import submit_many, submit_once
from understudy.engine.journals.rows import run_of
from understudy.engine.run import Request, Run, Submission
from understudy.errors import KeyReused

# In the order of the keys, so that two processes with the same ones do not wait for each other.
INSERT_REQUESTS = RowsStatement(
    {
        "tenant": "text",
        "key": "text",
        "fingerprint": "text",
        "run_id": "text",
        "created_at": "float8",
    },
    "INSERT INTO requests (tenant, key, fingerprint, run_id, created_at) "
    "SELECT r.tenant, r.key, r.fingerprint, r.run_id, r.created_at FROM {rows} AS r WHERE true "
    "ORDER BY r.tenant, r.key ON CONFLICT (tenant, key) DO NOTHING",
)

REQUEST = statement(
    "SELECT fingerprint, run_id FROM requests WHERE tenant = :tenant AND key = :key"
)

ANSWER_BY = statement(
    "UPDATE requests SET fingerprint = :fingerprint, run_id = :run_id, created_at = :created_at "
    "WHERE tenant = :tenant AND key = :key"
)


class Asked:
    """A run and its request, as a row of `ACCEPT`.

    `answer` is set with each try of its transaction: the run that answers, or why none does.
    """

    __slots__ = ("answer", "request", "run")

    def __init__(self, run: Run, request: Request) -> None:
        self.run = run
        self.request = request
        self.answer: Run | KeyReused = run


def accept_once(tx: Tx, submission: Submission, request: Request) -> Run:
    """The run that answers the request. Raises `KeyReused`."""
    run = submission.run
    tx.execute_rows(INSERT_REQUESTS, [_row(run, request)])
    before = _before(tx, run, request)
    if before is not None:
        return before
    accepted = submit_once(tx, submission)
    if accepted is not run:
        tx.execute(ANSWER_BY, _said(accepted, request))
    return accepted


def _accept_many(tx: Tx, rows: Sequence[Asked]) -> None:
    for row in rows:
        row.answer = row.run
    requests = [_row(row.run, row.request) for row in rows]
    if tx.execute_rows(INSERT_REQUESTS, requests) == len(rows):
        submit_many(tx, [row.run for row in rows])
        return
    for row in rows:
        try:
            before = _before(tx, row.run, row.request)
        except KeyReused as reused:
            row.answer = reused
        else:
            row.answer = before or row.run
            if before is None:
                submit_many(tx, [row.run])


def _before(tx: Tx, run: Run, request: Request) -> Run | None:
    """The run that has answered this request before; None if this one is to do so now.

    A run that has been forgotten meanwhile answers nothing any more. Raises `KeyReused`.
    """
    said = _said(run, request)
    fingerprint, run_id = tx.row(REQUEST, said) or (request.fingerprint, run.id)
    if run_id == run.id:
        return None
    row = tx.row(sql.RUN, {"id": run_id})
    if row is None:
        tx.execute(ANSWER_BY, said)
        return None
    if fingerprint != request.fingerprint:
        raise KeyReused(
            f"the idempotency key {request.key!r} was used for {run_id}, with another request:"
            " choose a new key for a new request"
        )
    return run_of(row)


def _row(run: Run, request: Request) -> tuple[object, ...]:
    return (run.tenant, request.key, request.fingerprint, run.id, run.created_at)


def _said(run: Run, request: Request) -> dict[str, object]:
    return {
        "tenant": run.tenant,
        "key": request.key,
        "fingerprint": request.fingerprint,
        "run_id": run.id,
        "created_at": run.created_at,
    }


ACCEPT = Bulk(0, _accept_many)
