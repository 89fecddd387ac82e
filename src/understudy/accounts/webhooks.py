"""The addresses that tenants are told at: what signs for them, and whether they are switched on.

An address is a URL without its query, which may differ with each run. It is known from the first
time that it is named; one that has failed for `PATIENCE` seconds, or says that it is gone, is
switched off until somebody switches it on again.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Sequence

from understudy.clock import Clock, iso
from understudy.db.database import Database, Row, Statement, Tx, sql
from understudy.errors import NotFound
from understudy.ids import ordered
from understudy.outbound import Fetcher
from understudy.signing import new_secret

PATIENCE = 3 * 86_400.0
"""Seconds for which every try fails before an address is switched off."""

OVERLAP = 86_400.0
"""Seconds for which a replaced secret signs as well."""

_KEPT = 4096
"""Addresses remembered at once, so that a run with a known one costs no write more."""


@dataclasses.dataclass(frozen=True, slots=True)
class Webhook:
    """An address as its tenant sees it. Times are seconds since 1970.

    `failing_since` is the first failure after the last success; `disabled_at` and `reason` say
    since when and why nothing is sent there, `former_until` how long the replaced secret signs.
    """

    id: str
    tenant: str
    url: str
    created_at: float
    failing_since: float | None
    disabled_at: float | None
    reason: str | None
    former_until: float | None

    @property
    def enabled(self) -> bool:
        """Whether anything is sent there."""
        return self.disabled_at is None


_COLUMNS = "id, tenant, url, created_at, failing_since, disabled_at, reason, former_until"
_INSERT = sql("""
    INSERT INTO webhooks (id, tenant, url, secret, created_at)
    VALUES (:id, :tenant, :url, :secret, :now)
    ON CONFLICT (tenant, url) DO NOTHING
""")
_OF = sql(f"SELECT {_COLUMNS} FROM webhooks WHERE tenant = :tenant AND url = :url")  # noqa: S608 - our own names
_GET = sql(f"SELECT {_COLUMNS} FROM webhooks WHERE tenant = :tenant AND id = :id")  # noqa: S608 - the same
_LIST = sql(f"""
    SELECT {_COLUMNS} FROM webhooks
    WHERE tenant = :tenant AND id < :before
    ORDER BY id DESC LIMIT :limit
""")  # noqa: S608 - the same
_SECRETS = sql("""
    SELECT secret, former_secret, former_until FROM webhooks WHERE tenant = :tenant AND id = :id
""")
_ENABLE = sql("""
    UPDATE webhooks SET disabled_at = NULL, reason = NULL, failing_since = NULL
    WHERE tenant = :tenant AND id = :id
""")
_DISABLE = sql("""
    UPDATE webhooks SET disabled_at = :now, reason = :reason
    WHERE tenant = :tenant AND id = :id AND disabled_at IS NULL
""")
_ROTATE = sql("""
    UPDATE webhooks SET former_secret = secret, former_until = :until, secret = :secret
    WHERE tenant = :tenant AND id = :id
""")
_TAKEN = sql("UPDATE webhooks SET failing_since = NULL WHERE tenant = :tenant AND id = :id")
_FAILED = sql("""
    UPDATE webhooks SET failing_since = COALESCE(failing_since, :now)
    WHERE tenant = :tenant AND id = :id
""")

_LAST = "~"
"""Sorts after every id."""


class Webhooks:
    """The addresses of all tenants in one database."""

    def __init__(self, database: Database, clock: Clock, fetcher: Fetcher) -> None:
        self._database = database
        self._clock = clock
        self._fetcher = fetcher
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def accept(self, tenant: str, url: str) -> str:
        """The URL as it will be asked for; from now on its address is known and has a secret.

        Raises `AddressRefused`.
        """
        checked = self._fetcher.check(url, secure=True)
        if (tenant, address_of(checked)) not in self._known:
            await self.register(tenant, checked)
        return checked

    async def register(self, tenant: str, url: str) -> Webhook:
        """The address of a URL, made if it is new. Raises `AddressRefused`."""
        address = address_of(self._fetcher.check(url, secure=True))
        now = self._clock.now()
        row = {"id": ordered("hook", now), "tenant": tenant, "url": address, "now": now}
        row["secret"] = new_secret()

        def unit(tx: Tx) -> Webhook:
            tx.execute(_INSERT, row)
            found = tx.row(_OF, row)
            assert found is not None
            return Webhook(*found)

        found = await self._database.read(lambda tx: tx.row(_OF, row))
        hook = await self._database.write(unit) if found is None else Webhook(*found)
        self._known[tenant, address] = None
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return hook

    async def list(
        self, tenant: str, before: str | None = None, limit: int = 50
    ) -> Sequence[Webhook]:
        """A page of a tenant's addresses, the newest first, older than the id `before`."""
        params = {"tenant": tenant, "before": before or _LAST, "limit": limit}
        rows = await self._database.read(lambda tx: tx.rows(_LIST, params))
        return [Webhook(*row) for row in rows]

    async def get(self, tenant: str, webhook_id: str) -> Webhook:
        """One of a tenant's addresses. Raises `NotFound`."""
        return await self._database.read(lambda tx: _found(tx, tenant, webhook_id))

    async def secrets(self, tenant: str, webhook_id: str) -> tuple[str, ...]:
        """What signs for an address now: its secret, and for a while the one before it.

        Raises `NotFound`.
        """
        key = {"tenant": tenant, "id": webhook_id}
        row: Row | None = await self._database.read(lambda tx: tx.row(_SECRETS, key))
        if row is None:
            raise _unknown(webhook_id)
        secret, former, until = row
        return (secret,) if former is None or until <= self._clock.now() else (secret, former)

    async def rotate(self, tenant: str, webhook_id: str, overlap: float = OVERLAP) -> Webhook:
        """Replace the secret; the old one signs as well for `overlap` seconds. Raises `NotFound`.

        A receiver that has changed to the new one by then misses nothing.
        """
        new = {"secret": new_secret(), "until": self._clock.now() + overlap}
        return await self._change(_ROTATE, tenant, webhook_id, **new)

    async def enable(self, tenant: str, webhook_id: str) -> Webhook:
        """Send there again, with as much patience as at first. Raises `NotFound`."""
        return await self._change(_ENABLE, tenant, webhook_id)

    async def disable(self, tenant: str, webhook_id: str, reason: str) -> Webhook:
        """Send nothing there any more; the first reason stays. Raises `NotFound`."""
        now = self._clock.now()
        return await self._change(_DISABLE, tenant, webhook_id, now=now, reason=reason)

    async def taken(self, hook: Webhook) -> None:
        """A message was taken there."""
        if hook.failing_since is not None:
            await self._change(_TAKEN, hook.tenant, hook.id)

    async def failed(self, hook: Webhook, why: str) -> Webhook:
        """A message was not taken there; the address is switched off when that is so for long."""
        now = self._clock.now()
        if hook.failing_since is None:
            hook = await self._change(_FAILED, hook.tenant, hook.id, now=now)
        since = hook.failing_since or now
        if now - since < PATIENCE:
            return hook
        reason = f"nothing was taken there since {iso(since)}; the last try: {why}"
        return await self.disable(hook.tenant, hook.id, reason)

    async def _change(
        self, statement: Statement, tenant: str, webhook_id: str, **values: object
    ) -> Webhook:
        def unit(tx: Tx) -> Webhook:
            tx.execute(statement, {"tenant": tenant, "id": webhook_id, **values})
            return _found(tx, tenant, webhook_id)

        return await self._database.write(unit)


def address_of(url: str) -> str:
    """A URL without its query and fragment."""
    return url.partition("#")[0].partition("?")[0]


def _found(tx: Tx, tenant: str, webhook_id: str) -> Webhook:
    row = tx.row(_GET, {"tenant": tenant, "id": webhook_id})
    if row is None:
        raise _unknown(webhook_id)
    return Webhook(*row)


def _unknown(webhook_id: str) -> NotFound:
    return NotFound(f"there is no webhook {webhook_id}")
