"""How runs end, and what follows: waits close, parents wake, children go too, places are free."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from understudy.db.tx import Tx
from understudy.engine.journal import Overdue, forgotten_by_retry
from understudy.engine.journals import statements as sql
from understudy.engine.journals import upkeep
from understudy.engine.journals.claiming import freed
from understudy.engine.journals.recording import listen, submit, submit_once
from understudy.engine.journals.rows import as_json, run_of, step_of
from understudy.engine.run import OUT_OF_TIME, Outcome, Run, Step, Submission, WaitFor
from understudy.errors import Conflict, NotFound

Then = Callable[[Run], Submission | None]
"""The run that follows from a run's end, if any."""

Cancels = Callable[[Run], Sequence[WaitFor]]
"""The signals that would cancel a run."""


def known_run(tx: Tx, run_id: str) -> Run:
    """A run. Raises `NotFound`."""
    row = tx.row(sql.RUN, {"id": run_id})
    if row is None:
        raise NotFound(f"no run has the id {run_id!r}")
    return run_of(row)


def steps(tx: Tx, run_id: str) -> list[Step]:
    """What a run remembers, in the order of its calls."""
    return [step_of(row) for row in tx.rows(sql.STEPS, {"run_id": run_id})]


def wake(tx: Tx, run_ids: list[str], now: float) -> list[str]:
    """Make runs due; the ids of those that have not ended."""
    woken = [run_id for run_id in run_ids if tx.execute(sql.WAKE, {"run_id": run_id, "now": now})]
    if woken:
        tx.announce()
    return woken


def ends_children(outcome: Outcome) -> bool:
    """Whether a run's children go with it: its time was over, or it was canceled.

    After another failure a retry still wants what they do.
    """
    return outcome.status == "canceled" or (outcome.error or {}).get("code") == OUT_OF_TIME


def fork(tx: Tx, run_id: str, key: str | None, submission: Submission) -> None:
    """Store a run that begins with what `run_id` remembers before its step `key` (None: of all).

    Raises `NotFound` for an unknown step.
    """
    remembered = steps(tx, run_id)
    seq = next((step.seq for step in remembered if step.key == key), None)
    if key is None:
        seq = len(remembered) and max(step.seq for step in remembered) + 1
    if seq is None:
        known = ", ".join(step.key for step in remembered) or "none"
        raise NotFound(f"{run_id} has no step {key!r}; it has: {known}")
    submit(tx, submission)
    said = {"run_id": run_id, "new_id": submission.run.id, "seq": seq}
    tx.execute(sql.COPY_STEPS, said)
    tx.execute(sql.COPY_USES, said)


class Endings:
    """The ends of runs. `tells` is the run that tells a webhook of another one's end."""

    def __init__(self, tells: Then) -> None:
        self._tells = tells

    def ended(self, tx: Tx, run_id: str, now: float, *, with_children: bool) -> list[str]:
        """What follows from a run's end; the ids of the runs woken."""
        tx.execute(sql.CLOSE_WAITS, {"run_id": run_id})
        woken: list[str] = []
        if with_children:
            for (child,) in tx.rows(sql.OPEN_CHILDREN, {"run_id": run_id}):
                woken += self.cancel(tx, child, now)
        concerned = tx.row(sql.CONCERNED, {"run_id": run_id}) or ("", None, None, None)
        lane, key, parent, webhook = concerned
        woken += freed(tx, lane, key)
        if webhook is not None:
            woken += self._told(tx, run_id)
        return woken + (wake(tx, [parent], now) if parent else [])

    def cancel(self, tx: Tx, run_id: str, now: float) -> list[str]:
        """Cancel a run that has not ended, at once or by its driver; the ids of the runs woken."""
        said = {"run_id": run_id, "now": now}
        if tx.execute(sql.CANCEL_AT_ONCE, said):
            return self.ended(tx, run_id, now, with_children=True)
        if not tx.execute(sql.REQUEST_CANCEL, said):
            return []
        tx.announce()
        return [run_id]

    def fail_overdue(self, tx: Tx, now: float, overdue: Overdue) -> list[str]:
        """Fail runs whose deadline has passed while nobody drives them."""
        woken: list[str] = []
        wanted = {"now": now, "limit": overdue.limit}
        for run in [run_of(row) for row in tx.rows(upkeep.OVERDUE, wanted)]:
            said = overdue.error(run)
            tx.execute(sql.FAIL_AT_ONCE, {"run_id": run.id, "now": now, "error": as_json(said)})
            woken += self.ended(tx, run.id, now, with_children=True)
            follower = overdue.then(run._replace(status="failed", error=said, ended_at=now))
            if follower is not None:
                submit(tx, follower)
                woken.append(follower.run.id)
        return woken

    def retry(self, tx: Tx, run: Run, now: float, cancels: Cancels) -> list[str]:
        """Queue a failed or canceled run again; the ids of the runs to wake. Raises `Conflict`."""
        said = {"run_id": run.id, "now": now}
        if not tx.execute(sql.RETRY, said):
            raise Conflict(
                f"{run.id} is {run.status}; only a failed or canceled run can be retried"
            )
        tx.announce()
        listen(tx, run, cancels(run))
        woken = [run.id]
        for step in forgotten_by_retry(steps(tx, run.id), run.error):
            woken += self._forget(tx, run.id, step, now)
        for (child,) in tx.rows(sql.UNWELL_CHILDREN, said):
            woken += self.retry(tx, known_run(tx, child), now, cancels)
        return woken

    def _told(self, tx: Tx, run_id: str) -> list[str]:
        """Queue the run that tells of this one's end, which is so as durable as the end."""
        submission = self._tells(known_run(tx, run_id))
        if submission is None or submit_once(tx, submission) is not submission.run:
            return []
        return [submission.run.id]

    def _forget(self, tx: Tx, run_id: str, step: Step, now: float) -> list[str]:
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
        return self.cancel(tx, run_of(child).id, now)
