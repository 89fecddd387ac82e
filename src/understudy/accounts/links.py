"""Links that work without a key for a while: what they are signed with, and for how long.

What signs is the installation's own, made at its first use and the same for all its processes.
"""

from __future__ import annotations

import secrets
from typing import NamedTuple

from understudy.clock import Clock
from understudy.db.database import Database, Tx, sql
from understudy.errors import Forbidden
from understudy.signing import BadSignature, check_link, sign_link

_NAME = "links"
_INSERT = sql("""
    INSERT INTO secrets (name, value) VALUES (:name, :value) ON CONFLICT (name) DO NOTHING
""")
_GET = sql("SELECT value FROM secrets WHERE name = :name")


class Link(NamedTuple):
    """A path with its signature, and when (seconds since 1970) it ends."""

    path: str
    expires_at: float


class Links:
    """Signs paths of this installation for `lifetime` seconds, and checks them."""

    def __init__(self, database: Database, clock: Clock, lifetime: float) -> None:
        self._database = database
        self._clock = clock
        self._lifetime = lifetime
        self._secret: str | None = None

    async def sign(self, path: str) -> Link:
        """A link to `path`, which has no query."""
        expires = int(self._clock.now() + self._lifetime)
        return Link(f"{path}?{sign_link(await self._key(), path, expires)}", float(expires))

    async def check(self, path: str, expires: str, signature: str) -> None:
        """Raise `Forbidden`, which says why, unless the link was made here and still works."""
        try:
            check_link(await self._key(), path, expires, signature, self._clock.now())
        except BadSignature as error:
            raise Forbidden(str(error)) from error

    async def _key(self) -> str:
        if self._secret is None:
            row = {"name": _NAME, "value": secrets.token_urlsafe(32)}

            def unit(tx: Tx) -> str:
                tx.execute(_INSERT, row)  # another process may have been first
                return str(tx.scalar(_GET, row))

            found = await self._database.read(lambda tx: tx.scalar(_GET, row))
            self._secret = found or await self._database.write(unit)
        return self._secret
