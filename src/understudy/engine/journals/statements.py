"""What the database journal says to the database, each statement with what it is for.

Plain SQL that SQLite and PostgreSQL both read; `:names` are parameters. The conditions of partial
indexes stand here word for word as in the schema. Whatever changes a run's row counts its `change`
up, so that who watches the run sees it.
"""

from __future__ import annotations

from understudy.db.statement import RowsStatement
from understudy.db.statement import sql as _sql

RUN_COLUMNS = (
    "id, tenant, user_id, operation, version, input, status, plan, epoch, attempt, claim, worker, "
    "wake_at, cancel_requested_at, waiting_for, progress, output, error, parent_id, parent_key, "
    "root_id, lane, concurrency_key, throttle_key, held, deadline_at, finish_within, "
    "idempotency_key, forked_from, webhook, change, created_at, started_at, ended_at"
)
_RUN_TYPES = {
    "version": "integer",
    "epoch": "integer",
    "attempt": "integer",
    "held": "integer",
    "wake_at": "float8",
    "cancel_requested_at": "float8",
    "deadline_at": "float8",
    "finish_within": "float8",
    "created_at": "float8",
    "started_at": "float8",
    "ended_at": "float8",
}
# What a new run may have: the rest of its row is empty.
NEW_RUN_COLUMNS = (
    "id, tenant, user_id, operation, version, input, status, plan, epoch, attempt, wake_at, "
    "parent_id, parent_key, root_id, lane, concurrency_key, throttle_key, held, deadline_at, "
    "finish_within, idempotency_key, forked_from, webhook, created_at"
)
STEP_COLUMNS = (
    "key, seq, name, kind, state, attempt, due_at, result, error, started_at, ended_at, change"
)


# Runs.

INSERT_RUNS = RowsStatement(
    {name: _RUN_TYPES.get(name, "text") for name in NEW_RUN_COLUMNS.split(", ")},
    f"INSERT INTO runs ({NEW_RUN_COLUMNS}) SELECT * FROM {{rows}} AS r WHERE true "  # noqa: S608
    # A unit is run again when nobody can tell whether it was committed.
    "ON CONFLICT (id) DO NOTHING",
)

SAME_KEY = _sql(
    f"SELECT {RUN_COLUMNS} FROM runs WHERE tenant = :tenant AND operation = :operation "  # noqa: S608
    "AND idempotency_key = :idempotency_key"
)

# An uploaded file belongs to the run that it is an input of, and is kept as long.
BIND_INPUT = _sql(
    "UPDATE artifacts SET run_id = :run_id "
    "WHERE tenant = :tenant AND id = :artifact_id AND run_id IS NULL"
)

RUN = _sql(f"SELECT {RUN_COLUMNS} FROM runs WHERE id = :id")  # noqa: S608

CHILD = _sql(
    f"SELECT {RUN_COLUMNS} FROM runs WHERE parent_id = :run_id AND parent_key = :key"  # noqa: S608
)

# Absent parameters are NULL, and then do not filter.
_LISTED = (
    "AND (CAST(:operation AS text) IS NULL OR operation = :operation) "
    "AND (CAST(:status AS text) IS NULL OR status = :status) "
    "AND (CAST(:since AS float8) IS NULL OR created_at >= :since) "
    "AND (CAST(:until AS float8) IS NULL OR created_at < :until) "
    "AND (CAST(:before_id AS text) IS NULL OR id < :before_id) ORDER BY id DESC LIMIT :limit"
)

RUNS = _sql(f"SELECT {RUN_COLUMNS} FROM runs WHERE tenant = :tenant {_LISTED}")  # noqa: S608

_OF_USER = "AND user_id = CAST(:user AS text) AND user_id IS NOT NULL "

RUNS_OF_USER = _sql(
    f"SELECT {RUN_COLUMNS} FROM runs WHERE tenant = :tenant {_OF_USER} {_LISTED}"  # noqa: S608
)

OPEN_RUNS = _sql(
    f"SELECT {RUN_COLUMNS} FROM runs WHERE tenant = :tenant AND ended_at IS NULL {_LISTED}"  # noqa: S608
)

OPEN_RUNS_OF_USER = _sql(
    f"SELECT {RUN_COLUMNS} FROM runs WHERE tenant = :tenant AND ended_at IS NULL "  # noqa: S608
    f"{_OF_USER} {_LISTED}"
)

UNFINISHED = _sql(
    f"SELECT {RUN_COLUMNS} FROM runs WHERE tenant = :tenant AND ended_at IS NULL ORDER BY id"  # noqa: S608
)

# The token in the row is what fences a driver; the epoch besides, so that a tenure that ended
# cannot move the run even if a token were to be reused.
_HELD = "id = :run_id AND claim = :token AND epoch = :epoch"

HELD = _sql(f"SELECT 1 FROM runs WHERE {_HELD}")  # noqa: S608

CLAIMED = _sql("SELECT 1 FROM runs WHERE id = :run_id AND claim = :token")

CLAIM = RowsStatement(
    {"run_id": "text", "token": "text", "worker": "text", "now": "float8"},
    "UPDATE runs SET status = 'running', claim = r.token, worker = r.worker, wake_at = NULL, "
    "change = change + 1, held = 0, waiting_for = NULL, "
    "started_at = coalesce(started_at, r.now), deadline_at = "
    "CASE WHEN started_at IS NULL THEN r.now + finish_within ELSE deadline_at END "
    "FROM {rows} AS r WHERE runs.id = r.run_id",
)

STEPS_OF = RowsStatement(
    {"wanted": "text"},
    f"SELECT run_id, {STEP_COLUMNS} FROM steps JOIN {{rows}} AS r ON run_id = r.wanted "  # noqa: S608
    "ORDER BY run_id, seq",
)

# A poke that came while the run was driven keeps it due now.
PARK = _sql(
    "UPDATE runs SET status = 'waiting', claim = NULL, worker = NULL, waiting_for = :waiting_for, "  # noqa: S608
    f"change = change + 1, wake_at = coalesce(wake_at, :until) WHERE {_HELD}"
)

WAKE_AT = _sql("SELECT wake_at FROM runs WHERE id = :run_id")

# A run that was begun goes before those that were not.
BEGUN = "CASE WHEN started_at < :now THEN started_at ELSE :now END"

# Handing a run back ends its tenure.
RELEASE = _sql(
    f"UPDATE runs SET status = 'queued', claim = NULL, worker = NULL, wake_at = {BEGUN}, "  # noqa: S608
    f"change = change + 1, epoch = epoch + 1 WHERE {_HELD}"
)

_FINISH = (
    "UPDATE runs SET status = {0}status, claim = NULL, worker = NULL, wake_at = NULL, "
    "change = change + 1, waiting_for = NULL, output = {0}output, error = {0}error, "
    "ended_at = {0}now{1} "
)

FINISH = _sql(_FINISH.format(":", "") + f"WHERE {_HELD}")

# The same for many runs whose end concerns nobody else.
FINISH_MANY = RowsStatement(
    {
        "run_id": "text",
        "token": "text",
        "epoch": "integer",
        "status": "text",
        "output": "text",
        "error": "text",
        "now": "float8",
    },
    _FINISH.format("r.", " FROM {rows} AS r")
    + "WHERE runs.id = r.run_id AND runs.claim = r.token AND runs.epoch = r.epoch",
)

CLOSE_WAITS_OF = RowsStatement(
    {"run_id": "text"},
    "DELETE FROM waits WHERE run_id IN (SELECT r.run_id FROM {rows} AS r)",
)

PROGRESS = RowsStatement(
    {"run_id": "text", "token": "text", "epoch": "integer", "progress": "text"},
    "UPDATE runs SET progress = r.progress, change = change + 1 FROM {rows} AS r "
    "WHERE runs.id = r.run_id AND runs.claim = r.token AND runs.epoch = r.epoch",
)

# A wake is a due time: on a driven run it is a poke, which its worker takes.
WAKE = _sql(
    "UPDATE runs SET wake_at = :now, change = change + 1 WHERE id = :run_id AND ended_at IS NULL"
)

POKED = _sql(
    "SELECT id FROM runs WHERE worker = :worker AND wake_at <= :now "
    "AND worker IS NOT NULL AND wake_at IS NOT NULL"
)

CANCEL_REQUESTED = _sql(f"SELECT cancel_requested_at FROM runs WHERE {_HELD}")  # noqa: S608

TAKE_POKE = _sql(f"UPDATE runs SET wake_at = NULL, change = change + 1 WHERE {_HELD}")  # noqa: S608

CANCEL_AT_ONCE = _sql(
    "UPDATE runs SET status = 'canceled', wake_at = NULL, waiting_for = NULL, held = 0, "
    "change = change + 1, "
    "cancel_requested_at = :now, ended_at = :now "
    "WHERE id = :run_id AND ended_at IS NULL AND claim IS NULL"
)

FAIL_AT_ONCE = _sql(
    "UPDATE runs SET status = 'failed', error = :error, wake_at = NULL, waiting_for = NULL, "
    "held = 0, ended_at = :now, change = change + 1 "
    "WHERE id = :run_id AND ended_at IS NULL AND claim IS NULL"
)

REQUEST_CANCEL = _sql(
    "UPDATE runs SET cancel_requested_at = coalesce(cancel_requested_at, :now), wake_at = :now, "
    "change = change + 1 WHERE id = :run_id AND ended_at IS NULL"
)

CONCERNED = _sql("SELECT lane, concurrency_key, parent_id, webhook FROM runs WHERE id = :run_id")

OPEN_CHILDREN = _sql("SELECT id FROM runs WHERE parent_id = :run_id AND ended_at IS NULL")

RETRY = _sql(
    "UPDATE runs SET status = 'queued', wake_at = :now, attempt = attempt + 1, "
    "change = change + 1, "
    "epoch = epoch + 1, error = NULL, ended_at = NULL, cancel_requested_at = NULL, "
    "deadline_at = :now + finish_within WHERE id = :run_id AND status IN ('failed', 'canceled')"
)

# Steps.

STEPS = _sql(f"SELECT {STEP_COLUMNS} FROM steps WHERE run_id = :run_id ORDER BY seq")  # noqa: S608

STEP = _sql(f"SELECT {STEP_COLUMNS} FROM steps WHERE run_id = :run_id AND key = :key")  # noqa: S608

# Stores nothing unless the claim is held, and never touches a finished step.
RECORD = RowsStatement(
    {
        "run_id": "text",
        "token": "text",
        "key": "text",
        "seq": "integer",
        "name": "text",
        "kind": "text",
        "state": "text",
        "attempt": "integer",
        "due_at": "float8",
        "result": "text",
        "error": "text",
        "started_at": "float8",
        "ended_at": "float8",
        "change": "integer",
    },
    f"INSERT INTO steps (run_id, {STEP_COLUMNS}) SELECT r.run_id, r.key, r.seq, r.name, r.kind, "  # noqa: S608
    "r.state, r.attempt, r.due_at, r.result, r.error, r.started_at, r.ended_at, r.change "
    "FROM {rows} AS r JOIN runs ON runs.id = r.run_id AND runs.claim = r.token WHERE true "
    "ON CONFLICT (run_id, key) DO UPDATE SET state = excluded.state, "
    "attempt = excluded.attempt, due_at = excluded.due_at, result = excluded.result, "
    "error = excluded.error, ended_at = excluded.ended_at, change = excluded.change "
    "WHERE steps.state = 'retry' OR steps.state = 'waiting'",
)

# A fork begins with what its run remembers of the steps before one of them.
COPY_STEPS = _sql(
    f"INSERT INTO steps (run_id, {STEP_COLUMNS}) SELECT :new_id, {STEP_COLUMNS} FROM steps "  # noqa: S608
    "WHERE run_id = :run_id AND seq < :seq AND ended_at IS NOT NULL"
)

COPY_USES = _sql(
    "INSERT INTO signal_uses (run_id, signal_id, key) SELECT :new_id, signal_id, u.key "
    "FROM signal_uses AS u JOIN steps AS s ON s.run_id = u.run_id AND s.key = u.key "
    "WHERE u.run_id = :run_id AND s.seq < :seq"
)

# What a retry forgets is as if it had never been, so its signal may answer again. A call that
# failed waits for its child again, which is retried in turn.

FORGET = _sql("DELETE FROM steps WHERE run_id = :run_id AND key = :key")

FORGET_USE = _sql("DELETE FROM signal_uses WHERE run_id = :run_id AND key = :key")

FORGET_CHILD = _sql(
    "UPDATE runs SET parent_id = NULL, parent_key = NULL, change = change + 1 "
    "WHERE parent_id = :run_id AND parent_key = :key"
)

REOPEN = _sql(
    "UPDATE steps SET state = 'waiting', error = NULL, ended_at = NULL, "
    "change = (SELECT max(s.change) + 1 FROM steps AS s WHERE s.run_id = :run_id) "
    "WHERE run_id = :run_id AND key = :key"
)

UNWELL_CHILDREN = _sql(
    "SELECT id FROM runs WHERE parent_id = :run_id AND status IN ('failed', 'canceled') "
    "AND parent_key IN (SELECT key FROM steps WHERE run_id = :run_id AND state = 'waiting')"
)

# Signals.

INSERT_SIGNAL = _sql(
    "INSERT INTO signals (tenant, name, data, created_at, idempotency_key) "
    "VALUES (:tenant, :name, :data, :now, :idempotency_key) ON CONFLICT DO NOTHING"
)

# The signals that a run may still use for a wait, the first one first.
UNUSED_SIGNALS = _sql(
    "SELECT id, data FROM signals WHERE tenant = :tenant AND name = :name "
    "AND created_at >= :since AND (CAST(:due_at AS float8) IS NULL OR created_at <= :due_at) "
    "AND id NOT IN (SELECT signal_id FROM signal_uses WHERE run_id = :run_id) ORDER BY id"
)

USE_SIGNAL = _sql(
    "INSERT INTO signal_uses (run_id, signal_id, key) VALUES (:run_id, :signal_id, :key)"
)

OPEN_WAIT = _sql(
    "INSERT INTO waits (run_id, key, tenant, name, fields) "
    "VALUES (:run_id, :key, :tenant, :name, :fields) ON CONFLICT (run_id, key) DO NOTHING"
)

CLOSE_WAIT = _sql("DELETE FROM waits WHERE run_id = :run_id AND key = :key")

CLOSE_WAITS = _sql("DELETE FROM waits WHERE run_id = :run_id")

WAITS_FOR = _sql("SELECT run_id, key, fields FROM waits WHERE tenant = :tenant AND name = :name")
