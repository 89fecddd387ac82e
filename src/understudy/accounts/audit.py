"""Who did what by hand, and who tried to sign in: written once, never changed."""

from __future__ import annotations

import dataclasses

from understudy.clock import Clock
from understudy.db.database import Database, Tx, sql

KEPT = 400 * 86_400.0
"""Seconds for which an entry is kept."""

LONGEST = 500
"""Characters kept of each part: some of them come from strangers."""

_LAST = 2**63 - 1
_DAY = 86_400.0


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One thing that somebody did: `actor` did `action` (such as `run.cancel`) to `subject`.

    `at` is in seconds since 1970; `address` where he sat. Ids rise with time.
    """

    id: int
    tenant: str
    at: float
    actor: str
    action: str
    subject: str | None
    reason: str | None
    address: str | None


_COLUMNS = "tenant, at, actor, action, subject, reason, address"
_INSERT = sql(f"""
    INSERT INTO audit ({_COLUMNS})
    VALUES (:tenant, :at, :actor, :action, :subject, :reason, :address)
""")  # noqa: S608 - our own names
_LIST = sql(f"""
    SELECT id, {_COLUMNS} FROM audit
    WHERE tenant = :tenant AND id < :before
    ORDER BY id DESC LIMIT :limit
""")  # noqa: S608 - the same
_PRUNE = sql("DELETE FROM audit WHERE at < :before")


class Audit:
    """The audit of all tenants in one database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._pruned_at: float | None = None

    async def write(  # the columns of a row
        self,
        tenant: str,
        actor: str,
        action: str,
        subject: str | None = None,
        reason: str | None = None,
        address: str | None = None,
    ) -> None:
        """Keep what was done; what is very long is cut at `LONGEST` characters.

        Once a day this forgets what is older than `KEPT`.
        """
        now = self._clock.now()
        prunes = self._pruned_at is None or now - self._pruned_at >= _DAY
        row = {
            "tenant": tenant,
            "at": now,
            "actor": _kept(actor),
            "action": action,
            "subject": _kept(subject),
            "reason": _kept(reason),
            "address": _kept(address),
        }

        def unit(tx: Tx) -> None:
            tx.execute(_INSERT, row)
            if prunes:
                tx.execute(_PRUNE, {"before": now - KEPT})

        await self._database.write(unit)
        self._pruned_at = now if prunes else self._pruned_at

    async def list(
        self, tenant: str, before: int | None = None, limit: int = 50
    ) -> tuple[Entry, ...]:
        """A page of a tenant's entries, the newest first, older than the entry `before`."""
        params = {"tenant": tenant, "before": _LAST if before is None else before, "limit": limit}
        rows = await self._database.read(lambda tx: tx.rows(_LIST, params))
        return tuple(Entry(*row) for row in rows)


def _kept(text: str | None) -> str | None:
    """What every database can store of a text."""
    if text is None:
        return None
    return (
        text[:LONGEST].encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    )
