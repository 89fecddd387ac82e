"""The one schema, for SQLite and PostgreSQL.

These tables tell a run's whole life:

- `runs`      one asking for an operation. A run is claimed by a worker (`claim`, an unguessable
              token), parked as a row (`status = waiting`) and woken by time (`wake_at`).
- `steps`     what a run remembers. A row appears when a step ends, or pauses to try again, or
              opens a wait; on the embedded plan a running body needs none: its claim is the run's.
- `waits`     the open waits, so that a signal finds its runs without reading their steps; also the
              signals that would cancel a run, under the keys `#cancel…`.
- `signals`   named messages, kept so that one which came before the wait still counts.
- `signal_uses`  which run used which signal for which wait: at most once for each run.
- `workers`   the processes that drive runs, each with one lease by the database's clock.
- `schedules` when each cron operation starts next.
- `throttles` how far each throttle has been used and booked.
- `artifacts`, `blobs`  references to bytes, and the bytes' place on disk; bytes are shared inside
              a tenant and never across.
- `requests`  which run answered which `Idempotency-Key` of a tenant.
- `tenants`   what a tenant has set for itself; one without a row has the defaults.
- `api_keys`, `sessions`  who may do what: bearer keys, and the browsers that signed in with one.
- `audit`     who did what by hand, and who tried to sign in.
- `webhooks`, `secrets`  the addresses that a tenant is told at; what this installation signs with.

What changes in a run is numbered, so that whoever watches it can say what he has seen: `change` of
a run rises with every change of its row, `change` of a step is the number of its last change among
all changes of the run's steps.

Conventions: ids are text; times are seconds since 1970 as doubles; JSON is text, so that both
databases return exactly what was written; every row that a tenant may read carries its tenant.
State machines are CHECK constraints: an illegal state cannot be stored, whichever code has the bug.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()

RUN_STATES = ("queued", "running", "waiting", "succeeded", "failed", "canceled")
RUN_ENDS = ("succeeded", "failed", "canceled")
STEP_KINDS = ("step", "sleep", "wait", "emit", "call")
STEP_STATES = ("retry", "waiting", "succeeded", "failed")
STEP_ENDS = ("succeeded", "failed")


def _one_of(column: str, values: tuple[str, ...]) -> str:
    # Not `IN (…)`: SQLite builds that list anew for each row that it checks, which doubled the
    # cost of an insert.
    return "(" + " OR ".join(f"{column} = {value!r}" for value in values) + ")"


def _index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """An index over the rows of which `where` is true."""
    condition = text(where)
    return Index(name, *columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("user_id", Text),
    Column("operation", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("input", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("claim", Text),
    Column("worker", Text),
    Column("wake_at", Double),
    Column("cancel_requested_at", Double),
    Column("waiting_for", Text),
    Column("progress", Text),
    Column("output", Text),
    Column("error", Text),
    Column("parent_id", Text),
    Column("parent_key", Text),
    Column("root_id", Text, nullable=False),
    Column("lane", Text, nullable=False, server_default=""),
    Column("concurrency_key", Text),
    Column("throttle_key", Text),
    Column("held", Integer, nullable=False, server_default="0"),
    Column("deadline_at", Double),
    Column("finish_within", Double),
    Column("idempotency_key", Text),
    Column("forked_from", Text),
    Column("webhook", Text),
    Column("change", Integer, nullable=False, server_default="0"),
    # The highest that was ever shown of this run: what is shown never goes back.
    Column("percent", Integer),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("ended_at", Double),
    CheckConstraint(_one_of("status", RUN_STATES), name="runs_status"),
    CheckConstraint("epoch >= 1 AND attempt >= 1", name="runs_counters"),
    CheckConstraint(
        "(status = 'running') = (claim IS NOT NULL) AND (claim IS NULL) = (worker IS NULL)",
        name="runs_claimed_while_running",
    ),
    CheckConstraint(
        f"{_one_of('status', RUN_ENDS)} = (ended_at IS NOT NULL)",
        name="runs_ended",
    ),
    CheckConstraint("(status = 'succeeded') = (output IS NOT NULL)", name="runs_output"),
    CheckConstraint("status != 'failed' OR error IS NOT NULL", name="runs_error"),
    CheckConstraint("status != 'queued' OR wake_at IS NOT NULL", name="runs_queued_is_due"),
    CheckConstraint("ended_at IS NULL OR wake_at IS NULL", name="runs_ended_never_wakes"),
    CheckConstraint("(parent_id IS NULL) = (parent_key IS NULL)", name="runs_parent"),
    # Only open runs are in these, so that claims do not slow down with history. The conditions are
    # repeated word for word by the statements that use them: SQLite compares them as text.
    _index(
        "runs_due",
        "lane",
        "wake_at",
        where="wake_at IS NOT NULL AND claim IS NULL AND held != 1",
    ),
    _index("runs_poked", "worker", "wake_at", where="worker IS NOT NULL AND wake_at IS NOT NULL"),
    _index("runs_driven", "worker", where="worker IS NOT NULL"),
    _index("runs_in_lane", "lane", "concurrency_key", where="worker IS NOT NULL AND lane != ''"),
    _index("runs_held", "lane", "concurrency_key", "wake_at", where="held = 1"),
    _index(
        "runs_deadline",
        "deadline_at",
        where="deadline_at IS NOT NULL AND claim IS NULL AND ended_at IS NULL",
    ),
    _index("runs_ended", "ended_at", where="ended_at IS NOT NULL"),
    _index("runs_open", "tenant", "id", where="ended_at IS NULL"),
    _index(
        "runs_idempotent",
        "tenant",
        "operation",
        "idempotency_key",
        where="idempotency_key IS NOT NULL",
        unique=True,
    ),
    Index("runs_by_tenant", "tenant", "id"),
    _index("runs_by_user", "tenant", "user_id", "id", where="user_id IS NOT NULL"),
    _index("runs_by_parent", "parent_id", "parent_key", where="parent_id IS NOT NULL"),
)

steps = Table(
    "steps",
    metadata,
    Column("run_id", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("due_at", Double),
    Column("result", Text),
    Column("error", Text),
    Column("started_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("change", Integer, nullable=False, server_default="0"),
    PrimaryKeyConstraint("run_id", "key"),
    ForeignKeyConstraint(["run_id"], ["runs.id"], ondelete="CASCADE"),
    CheckConstraint(_one_of("kind", STEP_KINDS), name="steps_kind"),
    CheckConstraint(_one_of("state", STEP_STATES), name="steps_state"),
    CheckConstraint("attempt >= 0 AND seq >= 0", name="steps_counters"),
    CheckConstraint(f"{_one_of('state', STEP_ENDS)} = (ended_at IS NOT NULL)", name="steps_ended"),
    CheckConstraint("(state = 'succeeded') = (result IS NOT NULL)", name="steps_result"),
    CheckConstraint(
        "(state != 'failed' AND state != 'retry') OR error IS NOT NULL", name="steps_error"
    ),
    CheckConstraint("state != 'retry' OR due_at IS NOT NULL", name="steps_retry_is_due"),
    sqlite_with_rowid=False,
)

signals = Table(
    "signals",
    metadata,
    # Numbered by the database: the first match is the first one stored.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("idempotency_key", Text),
    Index("signals_by_name", "tenant", "name", "id"),
    Index("signals_by_age", "created_at"),
    _index(
        "signals_idempotent",
        "tenant",
        "idempotency_key",
        where="idempotency_key IS NOT NULL",
        unique=True,
    ),
)

waits = Table(
    "waits",
    metadata,
    Column("run_id", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("name", Text, nullable=False),
    # The dotted paths of the signal's data and what they must equal, as JSON.
    Column("fields", Text, nullable=False, server_default="{}"),
    PrimaryKeyConstraint("run_id", "key"),
    ForeignKeyConstraint(["run_id"], ["runs.id"], ondelete="CASCADE"),
    Index("waits_by_name", "tenant", "name"),
)

workers = Table(
    "workers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("lease_until", Double, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("info", Text, nullable=False),
)

schedules = Table(
    "schedules",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("cron", Text, nullable=False),
    Column("next_at", Double, nullable=False),
    PrimaryKeyConstraint("tenant", "operation"),
)

throttles = Table(
    "throttles",
    metadata,
    Column("lane", Text, nullable=False),
    Column("key", Text, nullable=False),
    # The theoretical arrival time of GCRA, and up to when waiting runs have been booked.
    Column("used_until", Double, nullable=False),
    Column("booked_until", Double, nullable=False),
    PrimaryKeyConstraint("lane", "key"),
)

signal_uses = Table(
    "signal_uses",
    metadata,
    Column("run_id", Text, nullable=False),
    Column("signal_id", BigInteger().with_variant(Integer, "sqlite"), nullable=False),
    Column("key", Text, nullable=False),
    PrimaryKeyConstraint("run_id", "signal_id"),
    UniqueConstraint("run_id", "key", name="signal_uses_one_signal_a_wait"),
    ForeignKeyConstraint(["run_id"], ["runs.id"], ondelete="CASCADE"),
)

blobs = Table(
    "blobs",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("location", Text, nullable=False, unique=True),
    Column("created_at", Double, nullable=False),
    PrimaryKeyConstraint("tenant", "sha256"),
    CheckConstraint("size >= 0", name="blobs_size"),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("user_id", Text),
    Column("run_id", Text),
    Column("sha256", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("width", Integer),
    Column("height", Integer),
    Column("duration", Double),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    ForeignKeyConstraint(["tenant", "sha256"], ["blobs.tenant", "blobs.sha256"]),
    Index("artifacts_by_blob", "tenant", "sha256"),
    Index("artifacts_by_run", "run_id"),
    _index("artifacts_by_user", "tenant", "user_id", where="user_id IS NOT NULL"),
    _index("artifacts_expiring", "expires_at", where="expires_at IS NOT NULL"),
)

requests = Table(
    "requests",
    metadata,
    Column("tenant", Text, nullable=False),
    Column("key", Text, nullable=False),
    # Of what was asked, so that the key of one asking is not used for another.
    Column("fingerprint", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    PrimaryKeyConstraint("tenant", "key"),
    Index("requests_by_age", "created_at"),
)

tenants = Table(
    "tenants",
    metadata,
    Column("id", Text, primary_key=True),
    Column("result_days", Double),
    Column("input_days", Double),
    Column("run_days", Double),
    Column("failed_run_days", Double),
    CheckConstraint(
        "(result_days IS NULL OR result_days > 0) AND (input_days IS NULL OR input_days > 0) AND "
        "(run_days IS NULL OR run_days > 0) AND (failed_run_days IS NULL OR failed_run_days > 0)",
        name="tenants_days",
    ),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("name", Text, nullable=False),
    # SHA-256 of the whole token, in hexadecimal digits; `hint` is its last four characters.
    Column("hash", Text, nullable=False, unique=True),
    Column("hint", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("per_minute", Integer),
    Column("at_once", Integer),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("used_at", Double),
    Column("revoked_at", Double),
    CheckConstraint("per_minute IS NULL OR per_minute > 0", name="api_keys_per_minute"),
    CheckConstraint("at_once IS NULL OR at_once > 0", name="api_keys_at_once"),
    Index("api_keys_by_tenant", "tenant", "id"),
)

sessions = Table(
    "sessions",
    metadata,
    # SHA-256 of what the browser keeps.
    Column("hash", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    # None for the one-time link of the first start.
    Column("key_id", Text),
    Column("name", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Index("sessions_by_age", "expires_at"),
    _index("sessions_by_key", "key_id", where="key_id IS NOT NULL"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text),
    Column("reason", Text),
    Column("address", Text),
    Index("audit_by_tenant", "tenant", "id"),
    Index("audit_by_age", "at"),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("former_secret", Text),
    Column("former_until", Double),
    Column("created_at", Double, nullable=False),
    Column("failing_since", Double),
    Column("disabled_at", Double),
    Column("reason", Text),
    UniqueConstraint("tenant", "url", name="webhooks_one_an_address"),
    CheckConstraint("(disabled_at IS NULL) = (reason IS NULL)", name="webhooks_disabled"),
)

secrets = Table(
    "secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
