"""Browsers that signed in with a key, and the one-time links of a first start.

A browser keeps a random token; the database its hash. A session ends with its key, when it is
revoked, or after `LASTS` seconds. The token against forged requests is made from the browser's own
by HMAC, so that every process knows it and no row gives it away.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import secrets

from understudy.accounts.operator import ENVIRONMENT, OperatorKey
from understudy.accounts.principal import Principal, Scope, implied
from understudy.clock import Clock
from understudy.db.database import Database, Row, Tx, sql
from understudy.errors import Unauthorized

LASTS = 12 * 3600.0
"""Seconds that a session lives."""

LINK_LASTS = 3600.0
"""Seconds that a one-time link waits to be used."""

LINK = "one-time link"
"""The name of a session that was opened by one."""


@dataclasses.dataclass(frozen=True, slots=True)
class Session:
    """A browser that signed in: who he is, until when (seconds since 1970), and what his forms
    must carry.
    """

    principal: Principal
    expires_at: float
    csrf: str = dataclasses.field(repr=False)

    def fits(self, csrf: str) -> bool:
        """Whether a form came from a page that this session was shown."""
        return hmac.compare_digest(self.csrf.encode(), csrf.encode(errors="surrogatepass"))


_INSERT = sql("""
    INSERT INTO sessions (hash, tenant, key_id, name, scopes, created_at, expires_at)
    VALUES (:hash, :tenant, :key_id, :name, :scopes, :created_at, :expires_at)
""")
_GET = sql("""
    SELECT sessions.tenant, sessions.key_id, sessions.name, sessions.scopes, sessions.expires_at,
           api_keys.id, api_keys.per_minute, api_keys.at_once
    FROM sessions LEFT JOIN api_keys
      ON api_keys.id = sessions.key_id AND api_keys.tenant = sessions.tenant
     AND api_keys.revoked_at IS NULL
     AND (api_keys.expires_at IS NULL OR api_keys.expires_at > :now)
    WHERE sessions.hash = :hash AND sessions.expires_at > :now
""")
_TAKE = sql("DELETE FROM sessions WHERE hash = :hash AND expires_at > :now RETURNING tenant")
_REVOKE = sql("DELETE FROM sessions WHERE hash = :hash")
_REVOKE_OF = sql("DELETE FROM sessions WHERE key_id = :key_id")
_PRUNE = sql("DELETE FROM sessions WHERE expires_at <= :now")


class Sessions:
    """The sessions of all tenants in one database."""

    def __init__(
        self, database: Database, clock: Clock, operator: OperatorKey | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._operator = operator

    async def create(self, principal: Principal) -> tuple[str, Session]:
        """A session with the rights of `principal`, and the token that his browser keeps."""
        token = secrets.token_urlsafe(32)
        now = self._clock.now()
        row = self._row(token, principal, now)

        def unit(tx: Tx) -> None:
            tx.execute(_PRUNE, {"now": now})
            tx.execute(_INSERT, row)

        await self._database.write(unit)
        return token, Session(principal, now + LASTS, _csrf_of(token))

    async def get(self, token: str) -> Session | None:
        """The session of a browser, or None when it has ended or its key works no more."""
        params = {"hash": _hash_of("session", token), "now": self._clock.now()}
        row = await self._database.read(lambda tx: tx.row(_GET, params))
        return None if row is None else self._session(token, row)

    async def revoke(self, token: str) -> None:
        """End a session: somebody signs out."""
        digest = _hash_of("session", token)
        await self._database.write(lambda tx: tx.execute(_REVOKE, {"hash": digest}))

    async def revoke_of(self, key_id: str) -> int:
        """End all sessions that a key made; how many. They end with the key by themselves, too."""
        return await self._database.write(lambda tx: tx.execute(_REVOKE_OF, {"key_id": key_id}))

    async def link(self, tenant: str) -> str:
        """The token of a link that signs in one browser, once, with every right in a tenant."""
        token = secrets.token_urlsafe(32)
        now = self._clock.now()
        row = {
            "hash": _hash_of("link", token),
            "tenant": tenant,
            "key_id": None,
            "name": LINK,
            "scopes": json.dumps(["admin"]),
            "created_at": now,
            "expires_at": now + LINK_LASTS,
        }
        await self._database.write(lambda tx: tx.execute(_INSERT, row))
        return token

    async def redeem(self, token: str) -> tuple[str, Session]:
        """Open a session by a one-time link, which is then used up. Raises `Unauthorized`."""
        now = self._clock.now()
        new = secrets.token_urlsafe(32)
        taken = {"hash": _hash_of("link", token), "now": now}

        def unit(tx: Tx) -> Principal | None:
            tenant = tx.scalar(_TAKE, taken)
            if tenant is None:
                return None
            principal = Principal(tenant, None, LINK, implied(["admin"]))
            tx.execute(_INSERT, self._row(new, principal, now))
            return principal

        principal = await self._database.write(unit)
        if principal is None:
            raise Unauthorized("this link was used before, or is too old")
        return new, Session(principal, now + LASTS, _csrf_of(new))

    def _row(self, token: str, principal: Principal, now: float) -> dict[str, object]:
        key_id = principal.key_id
        if key_id == ENVIRONMENT and self._operator is not None:
            key_id = self._operator.proof(token)
        return {
            "hash": _hash_of("session", token),
            "tenant": principal.tenant,
            "key_id": key_id,
            "name": principal.name,
            "scopes": json.dumps(sorted(principal.scopes)),
            "created_at": now,
            "expires_at": now + LASTS,
        }

    def _session(self, token: str, row: Row) -> Session | None:
        tenant, key_id, name, scopes, expires_at, live_key, per_minute, at_once = row
        if key_id is not None and live_key is None:
            if not self._of_operator(key_id, token):
                return None
            key_id = ENVIRONMENT
        rights: list[Scope] = json.loads(scopes)
        principal = Principal(tenant, key_id, name, frozenset(rights), per_minute, at_once)
        return Session(principal, expires_at, _csrf_of(token))

    def _of_operator(self, key_id: str, token: str) -> bool:
        """Whether a session was made with the key that the settings carry now."""
        if self._operator is None:
            return False
        return hmac.compare_digest(key_id.encode(), self._operator.proof(token).encode())


def _hash_of(kind: str, token: str) -> str:
    """What a row keeps: a link is no session, whoever tries it as one."""
    return hashlib.sha256(f"{kind}:{token}".encode(errors="surrogatepass")).hexdigest()


def _csrf_of(token: str) -> str:
    return hmac.new(token.encode(errors="surrogatepass"), b"csrf", hashlib.sha256).hexdigest()
