"""What is said often is answered by an index: the cost of a claim does not grow with the past."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from understudy.db.database import Database, RowsStatement, Statement, Tx
from understudy.db.database import sql as plain
from understudy.engine.flow import Flow
from understudy.engine.journals import accepting, claiming, looking, upkeep
from understudy.engine.journals import statements as sql
from understudy.engine.journals.database import DatabaseJournal
from understudy.engine.run import Scope, Submission
from understudy.testing.conformance.rows import NOW, TENANT, a_run, a_step

PAST = plain(
    "UPDATE runs SET status = :status, wake_at = :wake_at, claim = :claim, worker = :worker, "
    "output = :output, ended_at = :ended_at WHERE id = :id"
)

_SCOPE = Scope(("film", "song"), flows={"film": Flow(2, 1, None)}, versions={"film": 3, "song": 1})
_DUE = claiming.Claiming(_SCOPE)
_FREE, _LANE = _DUE._free, _DUE._lanes["film"]

_SAID: dict[str, Any] = {
    "now": NOW,
    "alive_at": NOW,
    "limit": 100,
    "root": None,
    "since": NOW,
    "id": "run_1",
    "run_id": "run_1",
    "key": "draw",
    "token": "t",
    "epoch": 1,
    "worker": "w",
    "name": "answer",
    "tenant": TENANT,
    "user": "ann",
    "wake_at": NOW,
    "before_id": None,
    "operation": "film",
    "idempotency_key": "k",
    "due_at": None,
    "lane": "film",
    "concurrency_key": "a",
    "status": "failed",
    "error": "{}",
    "output": None,
    "until": None,
    "waiting_for": "{}",
    "at": NOW,
    "before": NOW,
    "lease_until": NOW,
    "info": None,
}

HOT: dict[str, tuple[Statement, set[str]]] = {
    "due, without limits": (_FREE.due, {"runs_due"}),
    "due, in a lane": (_LANE.due, {"runs_due"}),
    "due later": (_FREE.later, {"runs_due"}),
    "due later, in a lane": (_LANE.later, {"runs_due"}),
    "how many are due": (_FREE.count, {"runs_due"}),
    "the next deadline": (upkeep.NEXT_DEADLINE, {"runs_deadline"}),
    "overdue": (upkeep.OVERDUE, {"runs_deadline"}),
    "woken while driven": (sql.POKED, {"runs_poked"}),
    "driven, by key": (upkeep.RUNNING, {"runs_in_lane"}),
    "the next of a key": (upkeep.UNHOLD, {"runs_held", "runs_pkey"}),
    "all that is held": (upkeep.UNHOLD_FIRST, {"runs_held", "runs_pkey"}),
    "what dead workers left": (upkeep.RECOVER, {"runs_driven", "runs_poked"}),
    "a child": (sql.CHILD, {"runs_by_parent"}),
    "open children": (sql.OPEN_CHILDREN, {"runs_by_parent"}),
    "the run of a key": (sql.SAME_KEY, {"runs_idempotent"}),
    "a run": (sql.RUN, {"runs_pkey"}),
    "runs of a user": (sql.RUNS_OF_USER, {"runs_by_user"}),
    "open runs of a user": (sql.OPEN_RUNS_OF_USER, {"runs_by_user", "runs_open"}),
    "a place in the queue": (looking.PLACE, {"runs_due"}),
    "a place among the held": (looking.PLACE_AMONG_HELD, {"runs_held"}),
    "a request": (accepting.REQUEST, {"requests_pkey"}),
    "a held claim": (sql.HELD, {"runs_pkey"}),
    "a park": (sql.PARK, {"runs_pkey"}),
    "a release": (sql.RELEASE, {"runs_pkey"}),
    "a wake": (sql.WAKE, {"runs_pkey"}),
    "a poke taken": (sql.TAKE_POKE, {"runs_pkey"}),
    "an end": (sql.FINISH, {"runs_pkey"}),
    "a booking": (upkeep.BOOK, {"runs_pkey"}),
    "steps of a run": (sql.STEPS, {"steps_pkey"}),
    "a step": (sql.STEP, {"steps_pkey"}),
    "who waits for a signal": (sql.WAITS_FOR, {"waits_by_name"}),
    "unused signals": (sql.UNUSED_SIGNALS, {"signals_by_name", "signals_by_age"}),
    "what is past": (upkeep.PAST, {"runs_ended", "runs_by_tenant"}),
}

_A_STEP = ("run_1", "t", *a_step())
MANY: dict[str, tuple[RowsStatement, tuple[Any, ...], set[str]]] = {
    "claims": (sql.CLAIM, ("run_1", "t", "w", NOW), {"runs_pkey"}),
    "steps of claimed runs": (sql.STEPS_OF, ("run_1",), {"steps_pkey"}),
    "results": (sql.RECORD, _A_STEP, {"runs_pkey"}),
    "ends": (sql.FINISH_MANY, ("run_1", "t", 1, "succeeded", "{}", None, NOW), {"runs_pkey"}),
    "waits that end": (sql.CLOSE_WAITS_OF, ("run_1",), {"waits_pkey"}),
    "what is watched": (looking.CHANGED, (0, "run_1", None, 1, 1, 1), {"runs_pkey", "steps_pkey"}),
    "steps that are watched": (looking.CHANGED_STEPS, (0, "run_1", 1), {"steps_pkey"}),
    "progress": (sql.PROGRESS, ("run_1", "t", 1, "{}"), {"runs_pkey"}),
    "runs forgotten": (upkeep.FORGET_RUNS, ("run_1",), {"runs_pkey"}),
}

_TABLES = {"runs", "steps", "signals", "waits", "signal_uses", *"hepsu"}  # and their aliases


async def test_what_is_said_often_uses_its_index(database: Database) -> None:
    """No statement of the hot path scans a table, and each uses the index that is meant for it."""
    dialect = "sqlite" if database.driver is None else database.driver.dialect
    await _fill(database, dialect)
    for what, (statement, meant) in HOT.items():
        text, bind = statement.forms[dialect]
        plan = await _plan(database, dialect, text, bind(_SAID))
        _judge(f"{what}, {dialect}", plan, meant)
    for what, (many, row, meant) in MANY.items():
        ((text, parameters),) = many.packed(dialect, [row])
        plan = await _plan(database, dialect, text, tuple(parameters))
        _judge(f"{what}, {dialect}", plan, meant)


def _judge(what: str, plan: list[str], meant: set[str]) -> None:
    said = "\n".join((what, *plan))
    assert _scanned(plan) == set(), said
    assert _used(plan) & meant, said
    assert _used(plan) <= meant | _ALSO, said


_ALSO = {
    "runs_pkey",
    "steps_pkey",
    "waits_pkey",
    "signal_uses_pkey",
    "signal_uses_one_signal_a_wait",
    "workers_pkey",
    "artifacts_by_run",
}
"""What any statement may use besides: a row by its key."""


def _scanned(plan: list[str]) -> set[str]:
    """The tables that are read from end to end."""
    found = [re.search(r"Seq Scan on (\w+)|^SCAN (\w+)$", line) for line in plan]
    return {name for one in found if one for name in one.groups() if name} & _TABLES


def _used(plan: list[str]) -> set[str]:
    """The indexes, by PostgreSQL's names."""
    used = set()
    for line in plan:
        found = re.search(
            r"(?:Index Scan|Index Only Scan)(?: Backward)? using (\w+)|Index Scan on (\w+)"
            r"|USING (?:COVERING )?INDEX (\w+)|(?:SEARCH|SCAN) (\w+) USING PRIMARY KEY",
            line,
        )
        if found:
            scan, bitmap, index, table = found.groups()
            name = scan or bitmap or index or f"{table}_pkey"
            used.add(re.sub(r"sqlite_autoindex_(\w+)_1", r"\1_pkey", name))
    return used


async def _plan(database: Database, dialect: str, text: str, parameters: Any) -> list[str]:
    explain = "EXPLAIN QUERY PLAN" if dialect == "sqlite" else "EXPLAIN"

    def unit(tx: Tx) -> list[str]:
        cursor: Any = tx._cursor
        if dialect == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"{explain} {text}", parameters)
        return [str(row[-1]) for row in cursor.fetchall()]

    return await database.write(unit)


async def _fill(database: Database, dialect: str) -> None:
    """Parked, driven and finished runs, with a step each, and as many signals."""
    journal = DatabaseJournal(database)
    runs = [a_run(f"run_{number}", created_at=NOW - 99) for number in range(2000)]
    await asyncio.gather(*(journal.submit(Submission(run)) for run in runs))

    def unit(tx: Tx) -> None:
        cursor: Any = tx._cursor
        for number in range(2000):
            tx.execute(PAST, _past(number))
        cursor.execute(
            "INSERT INTO steps (run_id, key, seq, name, kind, state, attempt, result, started_at,"
            " ended_at) SELECT id, 'draw', 0, 'draw', 'step', 'succeeded', 1, '7', 1, 1 FROM runs"
        )
        for number in range(2000):
            said = {"tenant": TENANT, "name": f"n{number % 50}", "data": "1", "now": NOW + number}
            tx.execute(sql.INSERT_SIGNAL, {**said, "idempotency_key": None})
        if dialect == "postgresql":
            cursor.execute("ANALYZE")

    await database.write(unit)


def _past(number: int) -> dict[str, Any]:
    facts = dict.fromkeys(("claim", "worker", "output", "ended_at", "wake_at"))
    facts |= {"id": f"run_{number}", "status": "waiting"}
    if number % 4 == 0:
        return facts | {"status": "running", "claim": "t", "worker": "w"}
    if number % 2:
        return facts | {"wake_at": NOW + number}
    return facts | {"status": "succeeded", "output": "{}", "ended_at": NOW - number}
