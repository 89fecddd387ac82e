"""The server: numbered changes, idempotent requests, keys, sessions, audit, webhooks, tenants."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003_server"
down_revision = "0002_many_workers"


def upgrade() -> None:
    """Add the columns and the tables."""
    op.add_column("runs", sa.Column("webhook", sa.Text()))
    op.add_column("runs", sa.Column("change", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("runs", sa.Column("percent", sa.Integer()))
    op.add_column("steps", sa.Column("change", sa.Integer(), nullable=False, server_default="0"))
    user = sa.text("user_id IS NOT NULL")
    op.create_index(
        "runs_by_user",
        "runs",
        ["tenant", "user_id", "id"],
        sqlite_where=user,
        postgresql_where=user,
    )
    op.create_index(
        "artifacts_by_user",
        "artifacts",
        ["tenant", "user_id"],
        sqlite_where=user,
        postgresql_where=user,
    )
    _requests()
    _people()
    _audit()
    _webhooks()


def _requests() -> None:
    op.create_table(
        "requests",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "key"),
    )
    op.create_index("requests_by_age", "requests", ["created_at"])
    op.create_table(
        "tenants",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("result_days", sa.Double()),
        sa.Column("input_days", sa.Double()),
        sa.Column("run_days", sa.Double()),
        sa.Column("failed_run_days", sa.Double()),
        sa.PrimaryKeyConstraint("id"),
        sa.CheckConstraint(
            "(result_days IS NULL OR result_days > 0) AND "
            "(input_days IS NULL OR input_days > 0) AND "
            "(run_days IS NULL OR run_days > 0) AND "
            "(failed_run_days IS NULL OR failed_run_days > 0)",
            name="tenants_days",
        ),
    )


def _people() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("per_minute", sa.Integer()),
        sa.Column("at_once", sa.Integer()),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double()),
        sa.Column("used_at", sa.Double()),
        sa.Column("revoked_at", sa.Double()),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("hash"),
        sa.CheckConstraint("per_minute IS NULL OR per_minute > 0", name="api_keys_per_minute"),
        sa.CheckConstraint("at_once IS NULL OR at_once > 0", name="api_keys_at_once"),
    )
    op.create_index("api_keys_by_tenant", "api_keys", ["tenant", "id"])
    op.create_table(
        "sessions",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text()),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("hash"),
    )
    op.create_index("sessions_by_age", "sessions", ["expires_at"])
    keyed = sa.text("key_id IS NOT NULL")
    op.create_index(
        "sessions_by_key", "sessions", ["key_id"], sqlite_where=keyed, postgresql_where=keyed
    )


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
        ),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("address", sa.Text()),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("audit_by_tenant", "audit", ["tenant", "id"])
    op.create_index("audit_by_age", "audit", ["at"])


def _webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("former_secret", sa.Text()),
        sa.Column("former_until", sa.Double()),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("failing_since", sa.Double()),
        sa.Column("disabled_at", sa.Double()),
        sa.Column("reason", sa.Text()),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("tenant", "url", name="webhooks_one_an_address"),
        sa.CheckConstraint("(disabled_at IS NULL) = (reason IS NULL)", name="webhooks_disabled"),
    )
    op.create_table(
        "secrets",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
