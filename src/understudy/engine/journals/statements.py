"""What the database journal says to the database, each statement with what it is for.

Plain SQL that SQLite and PostgreSQL both read; `:names` are parameters.
"""

from __future__ import annotations

from sqlalchemy import text

from understudy.db.statement import Statement

RUN_COLUMNS = (
    "id, tenant, user_id, operation, version, input, status, plan, epoch, attempt, claim, worker, "
    "wake_at, cancel_requested_at, waiting_for, progress, output, error, parent_id, parent_key, "
    "root_id, created_at, started_at, ended_at"
)
STEP_COLUMNS = "key, seq, name, kind, state, attempt, due_at, result, error, started_at, ended_at"


def _sql(sql: str) -> Statement:
    return Statement(text(sql))


def _placeholders(columns: str) -> str:
    return ", ".join(f":{column}" for column in columns.split(", "))


# Runs.

INSERT_RUN = _sql(f"INSERT INTO runs ({RUN_COLUMNS}) VALUES ({_placeholders(RUN_COLUMNS)})")  # noqa: S608 - constants

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
RUNS = _sql(
    f"SELECT {RUN_COLUMNS} FROM runs WHERE tenant = :tenant "  # noqa: S608
    "AND (:operation IS NULL OR operation = :operation) "
    "AND (:status IS NULL OR status = :status) ORDER BY id DESC LIMIT :limit"
)

UNFINISHED = _sql(
    f"SELECT {RUN_COLUMNS} FROM runs WHERE tenant = :tenant AND ended_at IS NULL ORDER BY id"  # noqa: S608
)

# The token in the row is what fences a driver; the epoch besides, so that a tenure that ended
# cannot move the run even if a token were to be reused.
_HELD = "id = :run_id AND claim = :token AND epoch = :epoch"

HELD = _sql(f"SELECT 1 FROM runs WHERE {_HELD}")  # noqa: S608

CLAIM = _sql(
    "UPDATE runs SET status = 'running', claim = :token, worker = :worker, wake_at = NULL, "
    "waiting_for = NULL, started_at = coalesce(started_at, :now) WHERE id = :run_id"
)

# A poke that came while the run was driven keeps it due now.
PARK = _sql(
    "UPDATE runs SET status = 'waiting', claim = NULL, worker = NULL, waiting_for = :waiting_for, "  # noqa: S608
    f"wake_at = coalesce(wake_at, :until) WHERE {_HELD}"
)

WAKE_AT = _sql("SELECT wake_at FROM runs WHERE id = :run_id")

# Handing a run back ends its tenure.
RELEASE = _sql(
    "UPDATE runs SET status = 'queued', claim = NULL, worker = NULL, wake_at = :now, "  # noqa: S608
    f"epoch = epoch + 1 WHERE {_HELD}"
)

FINISH = _sql(
    "UPDATE runs SET status = :status, claim = NULL, worker = NULL, wake_at = NULL, "  # noqa: S608
    f"waiting_for = NULL, output = :output, error = :error, ended_at = :now WHERE {_HELD}"
)

PROGRESS = _sql(f"UPDATE runs SET progress = :progress WHERE {_HELD}")  # noqa: S608

# A wake is a due time: on a driven run it is a poke, which its worker takes.
WAKE = _sql("UPDATE runs SET wake_at = :now WHERE id = :run_id AND ended_at IS NULL")

POKED = _sql("SELECT id FROM runs WHERE worker = :worker AND wake_at <= :now")

CANCEL_REQUESTED = _sql(f"SELECT cancel_requested_at FROM runs WHERE {_HELD}")  # noqa: S608

TAKE_POKE = _sql(f"UPDATE runs SET wake_at = NULL WHERE {_HELD}")  # noqa: S608

# A worker that is gone leaves its claims; whoever recovers them begins a new tenure.
RECOVER = _sql(
    "UPDATE runs SET status = 'queued', claim = NULL, worker = NULL, wake_at = :now, "
    "epoch = epoch + 1 WHERE worker IS NOT NULL"
)

CANCEL_AT_ONCE = _sql(
    "UPDATE runs SET status = 'canceled', wake_at = NULL, waiting_for = NULL, "
    "cancel_requested_at = :now, ended_at = :now "
    "WHERE id = :run_id AND ended_at IS NULL AND claim IS NULL"
)

REQUEST_CANCEL = _sql(
    "UPDATE runs SET cancel_requested_at = coalesce(cancel_requested_at, :now), wake_at = :now "
    "WHERE id = :run_id AND ended_at IS NULL"
)

PARENT = _sql("SELECT parent_id FROM runs WHERE id = :run_id")

OPEN_CHILDREN = _sql("SELECT id FROM runs WHERE parent_id = :run_id AND ended_at IS NULL")

RETRY = _sql(
    "UPDATE runs SET status = 'queued', wake_at = :now, attempt = attempt + 1, "
    "epoch = epoch + 1, error = NULL, ended_at = NULL, cancel_requested_at = NULL "
    "WHERE id = :run_id AND status IN ('failed', 'canceled')"
)

# Steps.

STEPS = _sql(f"SELECT {STEP_COLUMNS} FROM steps WHERE run_id = :run_id ORDER BY seq")  # noqa: S608

STEP = _sql(f"SELECT {STEP_COLUMNS} FROM steps WHERE run_id = :run_id AND key = :key")  # noqa: S608

# Stores nothing unless the claim is held, and never touches a finished step.
RECORD = _sql(
    f"INSERT INTO steps (run_id, {STEP_COLUMNS}) SELECT :run_id, {_placeholders(STEP_COLUMNS)} "  # noqa: S608
    "WHERE EXISTS (SELECT 1 FROM runs WHERE id = :run_id AND claim = :token) "
    "ON CONFLICT (run_id, key) DO UPDATE SET state = excluded.state, "
    "attempt = excluded.attempt, due_at = excluded.due_at, result = excluded.result, "
    "error = excluded.error, ended_at = excluded.ended_at "
    "WHERE steps.state IN ('retry', 'waiting')"
)

# What a retry forgets is as if it had never been, so its signal may answer again. A call that
# failed waits for its child again, which is retried in turn.

FORGET = _sql("DELETE FROM steps WHERE run_id = :run_id AND key = :key")

FORGET_USE = _sql("DELETE FROM signal_uses WHERE run_id = :run_id AND key = :key")

FORGET_CHILD = _sql(
    "UPDATE runs SET parent_id = NULL, parent_key = NULL "
    "WHERE parent_id = :run_id AND parent_key = :key"
)

REOPEN = _sql(
    "UPDATE steps SET state = 'waiting', error = NULL, ended_at = NULL "
    "WHERE run_id = :run_id AND key = :key"
)

UNWELL_CHILDREN = _sql(
    "SELECT id FROM runs WHERE parent_id = :run_id AND status IN ('failed', 'canceled') "
    "AND parent_key IN (SELECT key FROM steps WHERE run_id = :run_id AND state = 'waiting')"
)

# Signals.

INSERT_SIGNAL = _sql(
    "INSERT INTO signals (tenant, name, data, created_at) VALUES (:tenant, :name, :data, :now)"
)

# The signals that a run may still use for a wait, the first one first.
UNUSED_SIGNALS = _sql(
    "SELECT id, data FROM signals WHERE tenant = :tenant AND name = :name "
    "AND created_at >= :since AND (:due_at IS NULL OR created_at <= :due_at) "
    "AND id NOT IN (SELECT signal_id FROM signal_uses WHERE run_id = :run_id) ORDER BY id"
)

USE_SIGNAL = _sql(
    "INSERT INTO signal_uses (run_id, signal_id, key) VALUES (:run_id, :signal_id, :key)"
)

OPEN_WAIT = _sql(
    "INSERT INTO waits (run_id, key, tenant, name) VALUES (:run_id, :key, :tenant, :name) "
    "ON CONFLICT (run_id, key) DO NOTHING"
)

CLOSE_WAIT = _sql("DELETE FROM waits WHERE run_id = :run_id AND key = :key")

CLOSE_WAITS = _sql("DELETE FROM waits WHERE run_id = :run_id")

WAITING_RUNS = _sql("SELECT DISTINCT run_id FROM waits WHERE tenant = :tenant AND name = :name")
