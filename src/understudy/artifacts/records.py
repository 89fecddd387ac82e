"""The rows of artifacts and of the bytes they share: units of work, and the queries beside them.

Bytes are shared inside a tenant (`blobs`, one row for each content) and never across. A row of
`blobs` is made after its file and removed before it, so that a row always has its bytes; a file
without a row is an accident that the sweep clears up.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, delete, exists, insert, not_, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from understudy.artifacts.artifact import Artifact
from understudy.db.schema import artifacts, blobs, runs
from understudy.db.statement import Statement
from understudy.db.tx import Row, Tx

PAGE = 500
"""Rows looked at, or removed, in one go: everybody's writes wait for a unit."""

_used = exists().where(artifacts.c.tenant == blobs.c.tenant, artifacts.c.sha256 == blobs.c.sha256)
_this_blob = (blobs.c.tenant == bindparam("tenant"), blobs.c.sha256 == bindparam("sha256"))
_this_artifact = (artifacts.c.tenant == bindparam("tenant"), artifacts.c.id == bindparam("id"))
_lifetime = artifacts.c.expires_at - artifacts.c.created_at
# A file of a run is counted from the run's end: no run loses what it works with.
_kept_by_run = exists().where(
    runs.c.id == artifacts.c.run_id,
    or_(runs.c.ended_at.is_(None), runs.c.ended_at + _lifetime > bindparam("now")),
)
_alive = or_(
    artifacts.c.expires_at.is_(None), artifacts.c.expires_at > bindparam("now"), _kept_by_run
)

_CONTENT = ("tenant", "sha256")
_ADD_BLOB = Statement(
    sqlite.insert(blobs).on_conflict_do_nothing(index_elements=_CONTENT),
    postgresql=postgresql.insert(blobs).on_conflict_do_nothing(index_elements=_CONTENT),
)
_ADD = Statement(insert(artifacts))
_LOCATION = Statement(select(blobs.c.location).where(*_this_blob))
_KNOWN = Statement(select(blobs.c.sha256).where(blobs.c.location == bindparam("location")))
_FIND = Statement(
    select(
        artifacts.c.id,
        artifacts.c.name,
        artifacts.c.media_type,
        blobs.c.size,
        artifacts.c.sha256,
        artifacts.c.width,
        artifacts.c.height,
        artifacts.c.duration,
        artifacts.c.created_at,
        artifacts.c.expires_at,
        blobs.c.location,
    )
    .join_from(artifacts, blobs)
    .where(*_this_artifact, _alive)
)
_TENANT = Statement(select(artifacts.c.tenant).where(artifacts.c.id == bindparam("id")))
_KEEP = Statement(
    update(artifacts).where(*_this_artifact, _alive).values(expires_at=bindparam("expires_at"))
)
_REMOVE = Statement(delete(artifacts).where(*_this_artifact).returning(artifacts.c.sha256))
_FREE = Statement(delete(blobs).where(*_this_blob, not_(_used)).returning(blobs.c.location))
_EXPIRED = Statement(
    select(artifacts.c.tenant, artifacts.c.id)
    .where(artifacts.c.expires_at <= bindparam("now"), not_(_kept_by_run))
    .limit(PAGE)
)
_UNUSED = Statement(select(blobs.c.tenant, blobs.c.sha256).where(not_(_used)).limit(PAGE))


def add(tx: Tx, row: dict[str, Any], blob: dict[str, Any]) -> str | None:
    """Store a reference, and its bytes' row unless the tenant has these bytes already.

    Returns the location that is then not needed, or None.
    """
    added = tx.execute(_ADD_BLOB, blob)
    tx.execute(_ADD, row)
    return None if added else str(blob["location"])


def find(tx: Tx, tenant: str, artifact_id: str, now: float) -> tuple[Artifact, str] | None:
    """An artifact that has not expired, and the location of its bytes."""
    row = tx.row(_FIND, {"tenant": tenant, "id": artifact_id, "now": now})
    if row is None:
        return None
    *facts, location = row
    return Artifact.model_construct(**dict(zip(_FACTS, facts, strict=True))), location


_FACTS = tuple(Artifact.model_fields)


def tenant_of(tx: Tx, artifact_id: str) -> str | None:
    """Whose an artifact is."""
    tenant: str | None = tx.scalar(_TENANT, {"id": artifact_id})
    return tenant


def keep(tx: Tx, key: dict[str, Any], now: float, expires_at: float | None) -> bool:
    """Change when an artifact expires; whether there was one."""
    return tx.execute(_KEEP, {**key, "now": now, "expires_at": expires_at}) > 0


def remove(tx: Tx, key: dict[str, Any]) -> tuple[bool, str | None]:
    """Remove a reference, and its bytes' row when it was the last.

    Returns whether there was one, and the location that is now free, if any.
    """
    sha256 = tx.scalar(_REMOVE, key)
    if sha256 is None:
        return False, None
    return True, tx.scalar(_FREE, {"tenant": key["tenant"], "sha256": sha256})


def expired(tx: Tx, now: float) -> list[Row]:
    """Tenant and id of references past their time, a page of them."""
    return tx.rows(_EXPIRED, {"now": now})


def unused(tx: Tx) -> list[Row]:
    """Tenant and SHA-256 of bytes that nothing refers to, a page of them."""
    return tx.rows(_UNUSED)


def free(tx: Tx, found: list[Row]) -> list[str]:
    """Remove the rows of bytes that still nothing refers to; their locations."""
    freed = (tx.scalar(_FREE, {"tenant": tenant, "sha256": sha256}) for tenant, sha256 in found)
    return [location for location in freed if location is not None]


def strangers(tx: Tx, locations: list[str]) -> list[str]:
    """Those locations that no row knows."""
    return [one for one in locations if tx.scalar(_KNOWN, {"location": one}) is None]
