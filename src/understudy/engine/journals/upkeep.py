"""What the journal says to the database about workers, queues, schedules and the past.

The conditions of partial indexes stand here word for word as in the schema.
"""

from __future__ import annotations

from understudy.db.statement import RowsStatement
from understudy.db.statement import sql as _sql
from understudy.engine.journals.statements import BEGUN, RUN_COLUMNS

# Workers.

LIVE_WORKERS = _sql("SELECT count(*) FROM workers WHERE lease_until > :now")

# A worker that is gone leaves its claims; whoever recovers them begins a new tenure.
RECOVER = _sql(
    f"UPDATE runs SET status = 'queued', claim = NULL, worker = NULL, wake_at = {BEGUN}, "  # noqa: S608 - constants
    "change = change + 1, epoch = epoch + 1 WHERE worker IS NOT NULL "
    "AND worker NOT IN (SELECT name FROM workers WHERE lease_until > :alive_at) RETURNING id"
)

FORGET_WORKERS = _sql("DELETE FROM workers WHERE lease_until <= :alive_at")

LEASES = _sql("SELECT lease_until FROM workers")

# Who was stopped for long may claim once more before it finds its lease gone, and then die.
ORPHANED = _sql(
    "SELECT 1 FROM runs WHERE worker IS NOT NULL "
    "AND worker NOT IN (SELECT name FROM workers) LIMIT 1"
)

ENLIST = _sql(
    "INSERT INTO workers (name, lease_until, started_at, info) "
    "VALUES (:name, :lease_until, :now, :info)"
)

# Where one process at a time may work, whoever else is in the list is dead.
ALONE = _sql("DELETE FROM workers WHERE name != :name")

BEAT = _sql(
    "UPDATE workers SET lease_until = :lease_until, info = coalesce(:info, info) WHERE name = :name"
)

LEAVE = _sql("DELETE FROM workers WHERE name = :name")

WORKERS = _sql(
    "SELECT name, lease_until, started_at, info, "
    "(SELECT count(*) FROM runs WHERE runs.worker = workers.name AND worker IS NOT NULL) "
    "FROM workers ORDER BY started_at, name"
)

QUEUES = _sql(
    "SELECT operation, concurrency_key, "
    "sum(CASE WHEN claim IS NULL AND held != 1 AND wake_at <= :now THEN 1 ELSE 0 END), "
    "sum(CASE WHEN held = 1 THEN 1 ELSE 0 END), "
    "sum(CASE WHEN claim IS NOT NULL THEN 1 ELSE 0 END), "
    "sum(CASE WHEN claim IS NULL AND held != 1 AND (wake_at IS NULL OR wake_at > :now) "
    "THEN 1 ELSE 0 END), "
    "min(CASE WHEN claim IS NULL AND wake_at <= :now THEN wake_at END) "
    "FROM runs WHERE ended_at IS NULL AND (CAST(:tenant AS text) IS NULL OR tenant = :tenant) "
    "GROUP BY operation, concurrency_key "
    "ORDER BY operation, concurrency_key"
)

# Flow control.

RUNNING = _sql(
    "SELECT concurrency_key, count(*) FROM runs "
    "WHERE worker IS NOT NULL AND lane != '' AND lane = :lane GROUP BY concurrency_key"
)

HOLD = _sql("UPDATE runs SET held = 1, change = change + 1 WHERE id = :run_id")

BOOK = _sql("UPDATE runs SET held = 2, wake_at = :at, change = change + 1 WHERE id = :run_id")

# A place of that key is free: its first held run is looked at again.
UNHOLD = _sql(
    "UPDATE runs SET held = 0, change = change + 1 "
    "WHERE id = (SELECT h.id FROM runs AS h WHERE h.held = 1 AND h.lane = :lane "
    "AND h.concurrency_key = :concurrency_key ORDER BY h.wake_at LIMIT 1) "
    "RETURNING id"
)

# After a change of limits: the first held run of each key is looked at again.
UNHOLD_FIRST = _sql(
    "UPDATE runs SET held = 0, change = change + 1 "
    "WHERE id IN (SELECT h.id FROM runs AS h WHERE h.held = 1 AND NOT EXISTS ("
    "SELECT 1 FROM runs AS e WHERE e.held = 1 AND e.lane = h.lane "
    "AND e.concurrency_key = h.concurrency_key AND (e.wake_at < h.wake_at "
    "OR (e.wake_at = h.wake_at AND e.id < h.id)))) RETURNING id"
)

THROTTLE = _sql("SELECT used_until, booked_until FROM throttles WHERE lane = :lane AND key = :key")

SET_THROTTLE = _sql(
    "INSERT INTO throttles (lane, key, used_until, booked_until) "
    "VALUES (:lane, :key, :used_until, :booked_until) ON CONFLICT (lane, key) DO UPDATE SET "
    "used_until = excluded.used_until, booked_until = excluded.booked_until"
)

OVERDUE = _sql(
    f"SELECT {RUN_COLUMNS} FROM runs WHERE deadline_at IS NOT NULL AND claim IS NULL "  # noqa: S608
    "AND ended_at IS NULL AND deadline_at <= :now ORDER BY deadline_at LIMIT :limit"
)

NEXT_DEADLINE = _sql(
    "SELECT min(deadline_at) FROM runs "
    "WHERE deadline_at IS NOT NULL AND claim IS NULL AND ended_at IS NULL"
)

SCHEDULES = _sql("SELECT operation, cron, next_at FROM schedules WHERE tenant = :tenant")

SCHEDULE = _sql(
    "INSERT INTO schedules (tenant, operation, cron, next_at) "
    "VALUES (:tenant, :operation, :cron, :next_at) ON CONFLICT (tenant, operation) DO UPDATE SET "
    "cron = excluded.cron, next_at = excluded.next_at "
    "WHERE schedules.cron = :expected_cron AND schedules.next_at = :expected_at"
)

UNSCHEDULE = _sql("DELETE FROM schedules WHERE tenant = :tenant AND operation = :operation")

# Retention.

_OF_TENANT = (
    "AND (CAST(:tenant AS text) IS NULL OR tenant = :tenant) "
    "AND (CAST(:tenant AS text) IS NOT NULL OR tenant NOT IN (SELECT t.id FROM tenants AS t "
    "WHERE t.run_days IS NOT NULL OR t.failed_run_days IS NOT NULL)) "
)

PAST = _sql(
    "SELECT id FROM runs WHERE ended_at IS NOT NULL AND ended_at < :before "  # noqa: S608 - constants
    "AND (CAST(:status AS text) IS NULL OR status = :status) "
    f"{_OF_TENANT}"
    "AND (parent_id IS NULL OR NOT EXISTS (SELECT 1 FROM runs AS p WHERE p.id = runs.parent_id "
    "AND (p.ended_at IS NULL OR p.ended_at >= :before))) "
    "AND NOT EXISTS (SELECT 1 FROM artifacts WHERE run_id = runs.id) "
    "ORDER BY ended_at LIMIT :limit"
)

STILL_PAST = RowsStatement(
    {"run_id": "text"},
    "SELECT id FROM runs WHERE id IN (SELECT r.run_id FROM {rows} AS r) AND ended_at IS NOT NULL",
)

FORGET_RUNS = RowsStatement(
    {"run_id": "text"},
    "DELETE FROM runs WHERE id IN (SELECT r.run_id FROM {rows} AS r)",
)

FORGET_STEPS_OF = RowsStatement(
    {"run_id": "text"},
    "DELETE FROM steps WHERE run_id IN (SELECT r.run_id FROM {rows} AS r)",
)

# A run may use a signal that came before its wait, so none goes that an open run could still use.
FORGET_SIGNALS = _sql(
    "DELETE FROM signals WHERE id IN (SELECT s.id FROM signals AS s WHERE s.created_at < :before "  # noqa: S608
    "AND s.created_at < coalesce((SELECT created_at FROM runs WHERE ended_at IS NULL "
    "AND tenant = s.tenant ORDER BY id LIMIT 1), :before) "
    f"{_OF_TENANT}ORDER BY s.created_at LIMIT :limit)"
)

FORGET_REQUESTS = _sql(
    "DELETE FROM requests WHERE (tenant, key) IN (SELECT tenant, key FROM requests "  # noqa: S608
    f"WHERE created_at < :before {_OF_TENANT}LIMIT :limit)"
)
