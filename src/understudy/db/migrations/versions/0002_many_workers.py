"""Many workers and flow control: lanes, leases, deadlines, schedules, throttles."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002_many_workers"
down_revision = "0001_first"


def upgrade() -> None:
    """Add the columns, the indexes that claims now use, and the new tables."""
    _columns()
    for name in ("runs_due", "runs_claimed", "runs_by_parent"):
        op.drop_index(name, "runs")
    due = "wake_at IS NOT NULL AND claim IS NULL AND held != 1"
    _index("runs_due", "lane", "wake_at", where=due)
    _index("runs_poked", "worker", "wake_at", where="worker IS NOT NULL AND wake_at IS NOT NULL")
    _index("runs_driven", "worker", where="worker IS NOT NULL")
    _index("runs_in_lane", "lane", "concurrency_key", where="worker IS NOT NULL AND lane != ''")
    _index("runs_held", "lane", "concurrency_key", "wake_at", where="held = 1")
    late = "deadline_at IS NOT NULL AND claim IS NULL AND ended_at IS NULL"
    _index("runs_deadline", "deadline_at", where=late)
    _index("runs_ended", "ended_at", where="ended_at IS NOT NULL")
    _index("runs_open", "tenant", "id", where="ended_at IS NULL")
    _index("runs_by_parent", "parent_id", "parent_key", where="parent_id IS NOT NULL")
    _unique("runs_idempotent", "runs", ["tenant", "operation", "idempotency_key"])
    op.create_index("signals_by_age", "signals", ["created_at"])
    _unique("signals_idempotent", "signals", ["tenant", "idempotency_key"])
    _tables()


def _columns() -> None:
    for column in (
        sa.Column("lane", sa.Text(), nullable=False, server_default=""),
        sa.Column("concurrency_key", sa.Text()),
        sa.Column("throttle_key", sa.Text()),
        sa.Column("held", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("deadline_at", sa.Double()),
        sa.Column("finish_within", sa.Double()),
        sa.Column("idempotency_key", sa.Text()),
        sa.Column("forked_from", sa.Text()),
    ):
        op.add_column("runs", column)
    op.add_column("signals", sa.Column("idempotency_key", sa.Text()))
    op.add_column("waits", sa.Column("fields", sa.Text(), nullable=False, server_default="{}"))


def _index(name: str, *columns: str, where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, "runs", list(columns), sqlite_where=condition, postgresql_where=condition)


def _unique(name: str, table: str, columns: list[str]) -> None:
    condition = sa.text("idempotency_key IS NOT NULL")
    op.create_index(
        name, table, columns, unique=True, sqlite_where=condition, postgresql_where=condition
    )


def _tables() -> None:
    op.create_table(
        "workers",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("lease_until", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("info", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "schedules",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("cron", sa.Text(), nullable=False),
        sa.Column("next_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "operation"),
    )
    op.create_table(
        "throttles",
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("used_until", sa.Double(), nullable=False),
        sa.Column("booked_until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("lane", "key"),
    )
