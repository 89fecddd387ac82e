"""Which due runs a worker gets: in the order of their due times, within what limits them.

A run of an operation with limits stands in that operation's lane. One that finds its concurrency
key full is held, and looked at again when a place of that key is free; one that comes too early for
its throttle is booked for a time of its own. Each waiting run is so touched once, however long the
queue is. While runs are held for a key, as many others of that key are driven or due as may be at
once: whatever takes a due run out of the queue lets a held one back in (`freed`).
"""

from __future__ import annotations

import itertools
import math
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from understudy.db.database import RowsStatement, Statement, Tx
from understudy.db.statement import sql as statement
from understudy.engine.flow import Flow, Throttle
from understudy.engine.journal import Claims
from understudy.engine.journals import statements as sql
from understudy.engine.journals import upkeep
from understudy.engine.journals.rows import run_of, step_of
from understudy.engine.run import Claim, Claimed, Run, Scope, Step

_LOOKED_AT = 1000
"""Runs of one lane that a claim looks at: everybody's writes wait for it."""


class Claiming:
    """The claims of one scope; its operations are part of the SQL."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        known = set(scope.operations)
        self._free = _Due(scope, sorted(known - scope.flows.keys()), "")
        self._lanes = {
            lane: _Due(scope, [lane], lane) for lane in sorted(scope.flows.keys() & known)
        }

    @property
    def alone(self) -> bool:
        """Whether a claim looks beyond the runs that it takes."""
        return bool(self._lanes)

    def claim(self, tx: Tx, worker: str, limit: int, now: float) -> Claims:
        """Take up to `limit` due runs, each under a fresh token."""
        now = tx.now(now)
        said = {"now": now, "root": self.scope.root, "since": self.scope.since}
        share = self._share(tx, said, limit, now)
        taken = [run_of(row) for row in tx.rows(self._free.due, {**said, "limit": share})]
        more = len(taken) == share
        for lane, due in self._lanes.items():
            found, rest = _Lane(tx, lane, self.scope.flows[lane], now).take(
                due, said, share - len(taken)
            )
            taken += found
            more = more or rest
        claimed = _claimed(tx, taken, worker, now)
        times = [tx.scalar(due.later, said) for due in (self._free, *self._lanes.values())]
        deadline = tx.scalar(upkeep.NEXT_DEADLINE)
        return Claims(
            runs=tuple(claimed),
            next_due=min((time for time in (*times, deadline) if time is not None), default=None),
            more=more,
            overdue=deadline is not None and deadline <= now,
        )

    def _share(self, tx: Tx, said: Mapping[str, Any], limit: int, now: float) -> int:
        """How many of the due this worker takes, for the others to have something, too."""
        workers: int = tx.scalar(upkeep.LIVE_WORKERS, {"now": now})
        if workers <= 1:
            return limit
        due: int = sum(
            tx.scalar(due.count, {**said, "limit": limit})
            for due in (self._free, *self._lanes.values())
        )
        return max(1, min(limit, math.ceil(due / workers)))


class _Due:
    """The statements about what is due in one lane."""

    def __init__(self, scope: Scope, operations: Sequence[str], lane: str) -> None:
        within = (
            f"lane = '{lane}' AND wake_at IS NOT NULL AND claim IS NULL AND held != 1 "
            f"AND {_known(scope, operations)} AND (CAST(:root AS text) IS NULL OR root_id = :root "
            "OR created_at >= CAST(:since AS float8))"
        )
        # What is past its deadline is left to fail.
        in_time = "(deadline_at IS NULL OR deadline_at > :now)"
        due = (
            f"SELECT {sql.RUN_COLUMNS} FROM runs WHERE wake_at <= :now AND {within} AND {in_time} "  # noqa: S608
            "ORDER BY wake_at LIMIT :limit"
        )
        self.due: Statement = statement(due, f"{due} FOR UPDATE SKIP LOCKED")
        self.later = statement(f"SELECT min(wake_at) FROM runs WHERE wake_at > :now AND {within}")  # noqa: S608
        self.count = statement(
            "SELECT count(*) FROM (SELECT 1 FROM runs "  # noqa: S608
            f"WHERE wake_at <= :now AND {within} AND {in_time} LIMIT :limit) AS due"
        )


def _known(scope: Scope, operations: Sequence[str]) -> str:
    """What this process can drive: runs of these operations, none of a newer version than its own.

    Names are checked by `@operation` and hold no quotes.
    """
    by_version: dict[int | None, list[str]] = {}
    for name in operations:
        by_version.setdefault(scope.versions.get(name), []).append(f"'{name}'")
    known = [
        f"operation IN ({', '.join(names)})" + (f" AND version <= {version}" if version else "")
        for version, names in by_version.items()
    ]
    return f"({' OR '.join(known) or 'operation IS NULL'})"


class _Lane:
    """One look at the queue of an operation that has limits."""

    def __init__(self, tx: Tx, lane: str, flow: Flow, now: float) -> None:
        self._tx = tx
        self._lane = lane
        self._flow = flow
        self._now = now
        self._running: dict[str | None, int] = dict(tx.rows(upkeep.RUNNING, {"lane": lane}))

    def take(self, due: _Due, said: Mapping[str, Any], limit: int) -> tuple[list[Run], bool]:
        """Up to `limit` runs that may be driven now, and whether more may be due."""
        if self._flow.total is not None:
            limit = min(limit, self._flow.total - sum(self._running.values()))
        taken: list[Run] = []
        looked_at = 0
        while len(taken) < limit and looked_at < _LOOKED_AT:
            wanted = limit - len(taken)
            # What was taken is still due in the table, and comes first.
            rows = self._tx.rows(due.due, {**said, "limit": wanted + len(taken)})
            known = {run.id for run in taken}
            runs = [run for run in map(run_of, rows) if run.id not in known]
            taken += [run for run in runs if self._admits(run)]
            looked_at += len(runs)
            if len(runs) < wanted:
                return taken, False
        return taken, looked_at >= _LOOKED_AT

    def _admits(self, run: Run) -> bool:
        """Whether the run may start now; else it is held or booked."""
        key, each = run.concurrency_key, self._flow.each
        if key is not None and each is not None and self._running.get(key, 0) >= each:
            self._tx.execute(upkeep.HOLD, {"run_id": run.id})
            return False
        if self._flow.throttle is not None and run.started_at is None:
            at = _booking(self._tx, self._lane, self._flow.throttle, run, self._now)
            if at is not None:
                self._tx.execute(upkeep.BOOK, {"run_id": run.id, "at": at})
                return False
        self._running[key] = self._running.get(key, 0) + 1
        return True


def freed(tx: Tx, lane: str, concurrency_key: str | None) -> list[str]:
    """A run of that key has left the queue or its driver: the id of a held one that is due now."""
    if not lane or concurrency_key is None:
        return []
    tx.announce()
    return [
        run_id
        for (run_id,) in tx.rows(upkeep.UNHOLD, {"lane": lane, "concurrency_key": concurrency_key})
    ]


def _booking(tx: Tx, lane: str, throttle: Throttle, run: Run, now: float) -> float | None:
    """None when the run may start now, which is then written down; else when it may.

    Who has been booked goes before who comes by chance at a moment with room. Starts are always a
    little later than booked: the next one then moves by as much, and keeps its place in the order.
    After a longer pause whoever comes too early for the throttle is booked anew, at the end.
    """
    said = {"lane": lane, "key": run.throttle_key or ""}
    used, booked = tx.row(upkeep.THROTTLE, said) or (0.0, 0.0)
    earliest = throttle.earliest(used)
    if earliest <= now and (run.held == _BOOKED or booked <= now):
        used = throttle.used(used, now)
        at = None
    elif run.held == _BOOKED and earliest <= (run.wake_at or now) + throttle.interval:
        at = earliest
        booked = max(booked, at + throttle.interval)
    else:
        at = max(now, booked, earliest)
        booked = at + throttle.interval
    tx.execute(upkeep.SET_THROTTLE, {**said, "used_until": used, "booked_until": booked})
    return at


_BOOKED = 2


def _claimed(tx: Tx, runs: Sequence[Run], worker: str, now: float) -> Iterable[Claimed]:
    if not runs:
        return ()
    prefix = secrets.token_hex(16)
    tokens = [f"{prefix}-{index}" for index in range(len(runs))]
    tx.execute_rows(
        sql.CLAIM,
        [(run.id, token, worker, now) for run, token in zip(runs, tokens, strict=True)],
    )
    began = [run.id for run in runs if run.started_at is not None or run.forked_from is not None]
    steps = _steps_of(tx, sql.STEPS_OF, began)
    return [
        Claimed(_begun(run, now), _claim(run, token, known), tuple(known))
        for run, token in zip(runs, tokens, strict=True)
        for known in (steps.get(run.id, ()),)
    ]


def _claim(run: Run, token: str, steps: Sequence[Step]) -> Claim:
    """The claim on a run that remembers these steps."""
    return Claim(
        run.id,
        token,
        run.epoch,
        run.lane,
        run.concurrency_key,
        run.parent_id,
        run.webhook,
        itertools.count(max((step.change for step in steps), default=0) + 1),
    )


def _begun(run: Run, now: float) -> Run:
    """The run with what its start gives it."""
    if run.started_at is not None:
        return run
    within = run.finish_within
    return run._replace(started_at=now, deadline_at=None if within is None else now + within)


def _steps_of(tx: Tx, steps: RowsStatement, run_ids: Sequence[str]) -> dict[str, list[Step]]:
    """What runs remember; one that never started remembers nothing and is not asked for."""
    found: dict[str, list[Step]] = {}
    if run_ids:
        for run_id, *row in tx.rows_of(steps, [(run_id,) for run_id in run_ids]):
            found.setdefault(run_id, []).append(step_of(tuple(row)))
    return found
