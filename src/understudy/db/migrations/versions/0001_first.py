"""The first schema: runs and what they remember, signals, artifacts and their bytes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001_first"
down_revision = None


def upgrade() -> None:
    """Create every table, then its indexes."""
    _blobs()
    _runs()
    _signals()
    _artifacts()
    _signal_uses()
    _steps()
    _waits()


def _blobs() -> None:
    op.create_table(
        "blobs",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.CheckConstraint("size >= 0", name="blobs_size"),
        sa.PrimaryKeyConstraint("tenant", "sha256"),
        sa.UniqueConstraint("location"),
    )


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("input", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("claim", sa.Text(), nullable=True),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("wake_at", sa.Double(), nullable=True),
        sa.Column("cancel_requested_at", sa.Double(), nullable=True),
        sa.Column("waiting_for", sa.Text(), nullable=True),
        sa.Column("progress", sa.Text(), nullable=True),
        sa.Column("output", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("parent_id", sa.Text(), nullable=True),
        sa.Column("parent_key", sa.Text(), nullable=True),
        sa.Column("root_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.CheckConstraint(
            "(status = 'queued' OR status = 'running' OR status = 'waiting' OR status = 'succeeded' OR status = 'failed' OR status = 'canceled')",
            name="runs_status",
        ),
        sa.CheckConstraint(
            "(status = 'running') = (claim IS NOT NULL) AND (claim IS NULL) = (worker IS NULL)",
            name="runs_claimed_while_running",
        ),
        sa.CheckConstraint(
            "(status = 'succeeded' OR status = 'failed' OR status = 'canceled') = (ended_at IS NOT NULL)",
            name="runs_ended",
        ),
        sa.CheckConstraint("(status = 'succeeded') = (output IS NOT NULL)", name="runs_output"),
        sa.CheckConstraint("status != 'failed' OR error IS NOT NULL", name="runs_error"),
        sa.CheckConstraint("status != 'queued' OR wake_at IS NOT NULL", name="runs_queued_is_due"),
        sa.CheckConstraint("(parent_id IS NULL) = (parent_key IS NULL)", name="runs_parent"),
        sa.CheckConstraint("ended_at IS NULL OR wake_at IS NULL", name="runs_ended_never_wakes"),
        sa.CheckConstraint("epoch >= 1 AND attempt >= 1", name="runs_counters"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "runs_by_parent",
        "runs",
        ["parent_id", "parent_key"],
        unique=False,
        sqlite_where=sa.text("parent_id IS NOT NULL"),
        postgresql_where=sa.text("parent_id IS NOT NULL"),
    )
    op.create_index("runs_by_tenant", "runs", ["tenant", "id"], unique=False)
    op.create_index(
        "runs_claimed",
        "runs",
        ["worker"],
        unique=False,
        sqlite_where=sa.text("worker IS NOT NULL"),
        postgresql_where=sa.text("worker IS NOT NULL"),
    )
    op.create_index(
        "runs_due",
        "runs",
        ["wake_at"],
        unique=False,
        sqlite_where=sa.text("wake_at IS NOT NULL"),
        postgresql_where=sa.text("wake_at IS NOT NULL"),
    )


def _signals() -> None:
    op.create_table(
        "signals",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("signals_by_name", "signals", ["tenant", "name", "id"], unique=False)


def _artifacts() -> None:
    op.create_table(
        "artifacts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("duration", sa.Double(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["tenant", "sha256"], ["blobs.tenant", "blobs.sha256"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("artifacts_by_blob", "artifacts", ["tenant", "sha256"], unique=False)
    op.create_index("artifacts_by_run", "artifacts", ["run_id"], unique=False)
    op.create_index(
        "artifacts_expiring",
        "artifacts",
        ["expires_at"],
        unique=False,
        sqlite_where=sa.text("expires_at IS NOT NULL"),
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    )


def _signal_uses() -> None:
    op.create_table(
        "signal_uses",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column(
            "signal_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("key", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "signal_id"),
        sa.UniqueConstraint("run_id", "key", name="signal_uses_one_signal_a_wait"),
    )


def _steps() -> None:
    op.create_table(
        "steps",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.CheckConstraint(
            "(kind = 'step' OR kind = 'sleep' OR kind = 'wait' OR kind = 'emit' OR kind = 'call')",
            name="steps_kind",
        ),
        sa.CheckConstraint(
            "(state != 'failed' AND state != 'retry') OR error IS NOT NULL", name="steps_error"
        ),
        sa.CheckConstraint(
            "(state = 'retry' OR state = 'waiting' OR state = 'succeeded' OR state = 'failed')",
            name="steps_state",
        ),
        sa.CheckConstraint(
            "(state = 'succeeded' OR state = 'failed') = (ended_at IS NOT NULL)", name="steps_ended"
        ),
        sa.CheckConstraint("(state = 'succeeded') = (result IS NOT NULL)", name="steps_result"),
        sa.CheckConstraint("state != 'retry' OR due_at IS NOT NULL", name="steps_retry_is_due"),
        sa.CheckConstraint("attempt >= 0 AND seq >= 0", name="steps_counters"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "key"),
        sqlite_with_rowid=False,
    )


def _waits() -> None:
    op.create_table(
        "waits",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "key"),
    )
    op.create_index("waits_by_name", "waits", ["tenant", "name"], unique=False)
