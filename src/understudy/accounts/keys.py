"""Bearer keys: made, listed, rotated, revoked, and asked at each request whose they are.

Only the hash of a token is stored; whoever loses one makes another. What is known of a token is
believed for `FRESH` seconds, so that a request costs no query, and a revoked key is refused
everywhere soon after.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hmac
import json
from collections.abc import Collection
from typing import Literal

from understudy.accounts import token as tokens
from understudy.accounts.operator import OperatorKey
from understudy.accounts.principal import SCOPES, Principal, Scope, implied
from understudy.clock import Clock
from understudy.db.database import Database, Row, Tx, sql
from understudy.errors import Conflict, InputError, NotFound, Unauthorized
from understudy.ids import ordered

FRESH = 3.0
"""Seconds for which a key's row is believed without another look."""

KEPT = 1024
"""Tokens remembered at once, those that nobody knows included."""

USED_EVERY = 60.0
"""Seconds between two notes of a key's last use."""

NAME_LIMIT = 100
"""Characters of a key's name."""

_LONGEST = 100 * 366 * 86_400.0
"""Seconds: who wants more wants a key that does not expire."""

State = Literal["active", "expired", "revoked"]


@dataclasses.dataclass(frozen=True, slots=True)
class Key:
    """A key as its tenant sees it; times are seconds since 1970, the token is not kept.

    `hint` is the last four characters of the token, `scopes` what it was made with, and a limit
    of None the installation's.
    """

    id: str
    tenant: str
    name: str
    hint: str
    scopes: tuple[Scope, ...]
    per_minute: int | None
    at_once: int | None
    created_at: float
    expires_at: float | None
    used_at: float | None
    revoked_at: float | None

    def state(self, now: float) -> State:
        """Whether it works."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"

    @property
    def principal(self) -> Principal:
        """Whoever shows it."""
        scopes = implied(self.scopes)
        return Principal(self.tenant, self.id, self.name, scopes, self.per_minute, self.at_once)


_COLUMNS = (
    "id, tenant, name, hint, scopes, per_minute, at_once,"
    " created_at, expires_at, used_at, revoked_at"
)
_INSERT = sql(f"""
    INSERT INTO api_keys ({_COLUMNS}, hash)
    VALUES (:id, :tenant, :name, :hint, :scopes, :per_minute, :at_once,
            :created_at, :expires_at, :used_at, :revoked_at, :hash)
""")  # noqa: S608 - our own names
_BY_HASH = sql(f"SELECT {_COLUMNS}, hash FROM api_keys WHERE hash = :hash")  # noqa: S608 - the same
_GET = sql(f"SELECT {_COLUMNS} FROM api_keys WHERE tenant = :tenant AND id = :id")  # noqa: S608 - the same
_LIST = sql(f"SELECT {_COLUMNS} FROM api_keys WHERE tenant = :tenant ORDER BY id DESC")  # noqa: S608 - the same
_ANY = sql("SELECT 1 FROM api_keys LIMIT 1")
_REVOKE = sql("""
    UPDATE api_keys SET revoked_at = :now
    WHERE tenant = :tenant AND id = :id AND revoked_at IS NULL
""")
_EXPIRE = sql("UPDATE api_keys SET expires_at = :expires_at WHERE tenant = :tenant AND id = :id")
_USED = sql("""
    UPDATE api_keys SET used_at = :now
    WHERE id = :id AND (used_at IS NULL OR used_at <= :before)
""")


@dataclasses.dataclass(frozen=True, slots=True)
class _Known:
    """What was read of a token, and when: its key, or None for one that nobody knows."""

    key: Key | None
    at: float


class Keys:
    """The keys of all tenants in one database, and the one of the settings."""

    def __init__(
        self, database: Database, clock: Clock, operator: OperatorKey | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._operator = operator
        self._known: dict[str, _Known] = {}
        self._looking: dict[str, asyncio.Task[Key | None]] = {}
        self._used: dict[str, float] = {}
        self._configured = operator is not None
        self._asked_at: float | None = None

    async def create(
        self,
        tenant: str,
        name: str,
        scopes: Collection[str],
        *,
        expires_in: float | None = None,
        per_minute: int | None = None,
        at_once: int | None = None,
    ) -> tuple[Key, str]:
        """A new key, and its token, which is told here and never again.

        `expires_in` is in seconds; None is for ever. Raises `InputError`, which names the part.
        """
        now = self._clock.now()
        implied(scopes)
        key = Key(
            id=ordered("key", now),
            tenant=tenant,
            name=_checked_name(name),
            hint="",
            scopes=tuple(scope for scope in SCOPES if scope in scopes),
            per_minute=_positive("per_minute", per_minute),
            at_once=_positive("at_once", at_once),
            created_at=now,
            expires_at=None if expires_in is None else now + _lifetime(expires_in),
            used_at=None,
            revoked_at=None,
        )
        key, token, row = _with_token(key)
        await self._database.write(lambda tx: tx.execute(_INSERT, row))
        self._forget()
        return key, token

    async def list(self, tenant: str) -> tuple[Key, ...]:
        """A tenant's keys, the newest first; those that no longer work, too."""
        rows = await self._database.read(lambda tx: tx.rows(_LIST, {"tenant": tenant}))
        return tuple(_key(row) for row in rows)

    async def get(self, tenant: str, key_id: str) -> Key:
        """One of a tenant's keys. Raises `NotFound`."""
        return await self._database.read(lambda tx: _found(tx, tenant, key_id))

    async def revoke(self, tenant: str, key_id: str) -> Key:
        """End a key for good, and with it the sessions it made; once more changes nothing.

        This process refuses it at once, the others within `FRESH` seconds. Raises `NotFound`.
        """
        now = self._clock.now()

        def unit(tx: Tx) -> Key:
            tx.execute(_REVOKE, {"tenant": tenant, "id": key_id, "now": now})
            return _found(tx, tenant, key_id)

        key = await self._database.write(unit)
        self._forget()
        return key

    async def rotate(self, tenant: str, key_id: str, overlap: float) -> tuple[Key, str]:
        """A new key in place of this one, which goes on working for `overlap` seconds.

        The new one has the name, the rights, the limits and the length of life of the old one.
        Raises `NotFound`, `Conflict` for a key that no longer works, and `InputError`.
        """
        if not 0 <= overlap <= _LONGEST:
            raise InputError(f"overlap: from 0 to {_LONGEST:.0f} seconds, not {overlap:g}")
        now = self._clock.now()
        new_id, token = ordered("key", now), tokens.fresh()

        def unit(tx: Tx) -> Key:
            old = _found(tx, tenant, key_id)
            if old.state(now) != "active":
                raise Conflict(f"{key_id} is {old.state(now)}; make a new key instead")
            lasts = None if old.expires_at is None else old.expires_at - old.created_at
            new = dataclasses.replace(
                old,
                id=new_id,
                created_at=now,
                expires_at=None if lasts is None else now + lasts,
                used_at=None,
            )
            new, _, row = _with_token(new, token)
            tx.execute(_INSERT, row)
            until = now + overlap
            until = until if old.expires_at is None else min(until, old.expires_at)
            tx.execute(_EXPIRE, {"tenant": tenant, "id": key_id, "expires_at": until})
            return new

        key = await self._database.write(unit)
        self._forget()
        return key, token

    async def authenticate(self, token: str) -> Principal:
        """Whose token this is. Raises `Unauthorized`, which says what is wrong with it."""
        if self._operator is not None and self._operator.fits(token):
            return self._operator.principal
        if not tokens.is_whole(token):
            raise Unauthorized("this is no key: it is cut off, or has a character wrong")
        key = await self._look(tokens.hash_of(token))
        if key is None:
            raise Unauthorized("this key is not known here")
        now = self._clock.now()
        if (state := key.state(now)) != "active":
            raise Unauthorized(f"this key {'has' if state == 'expired' else 'was'} {state}")
        self._note_use(key, now)
        return key.principal

    async def configured(self) -> bool:
        """Whether anybody has ever made a key here, or the settings carry one.

        A key that was revoked or has expired counts: the door that it closed stays closed.
        """
        if self._configured:
            return True
        now = self._clock.now()
        if self._asked_at is None or not 0 <= now - self._asked_at < FRESH:
            any_key = await self._database.read(lambda tx: tx.scalar(_ANY))
            self._configured, self._asked_at = any_key is not None, now
        return self._configured

    async def _look(self, digest: str) -> Key | None:
        """The key of a hash, as the database said it at most `FRESH` seconds ago."""
        known = self._known.get(digest)
        if known is not None and 0 <= self._clock.now() - known.at < FRESH:
            return known.key
        looking = self._looking.get(digest)
        if looking is None:  # many requests at once ask once
            looking = asyncio.create_task(self._read(digest))
            self._looking[digest] = looking
            looking.add_done_callback(lambda done: self._looked(digest, done))
        return await asyncio.shield(looking)

    async def _read(self, digest: str) -> Key | None:
        at = self._clock.now()
        row = await self._database.read(lambda tx: tx.row(_BY_HASH, {"hash": digest}))
        key = None
        if row is not None and hmac.compare_digest(row[-1], digest):
            key = _key(row[:-1])
        if self._looking.get(digest) is asyncio.current_task():  # else a key has changed meanwhile
            self._known.pop(digest, None)
            self._known[digest] = _Known(key, at)
            while len(self._known) > KEPT:
                del self._known[next(iter(self._known))]
        return key

    def _looked(self, digest: str, done: asyncio.Task[Key | None]) -> None:
        if self._looking.get(digest) is done:
            del self._looking[digest]

    def _forget(self) -> None:
        """Look anew at each key: one of them has changed."""
        self._known.clear()
        self._looking.clear()
        self._asked_at = None

    def _note_use(self, key: Key, now: float) -> None:
        before = max(self._used.get(key.id, 0.0), key.used_at or 0.0)
        if now - before < USED_EVERY:
            return
        self._used[key.id] = now
        row = {"id": key.id, "now": now, "before": now - USED_EVERY}
        self._database.post(lambda tx: tx.execute(_USED, row))


def _with_token(key: Key, token: str | None = None) -> tuple[Key, str, dict[str, object]]:
    """A key that has this token or a fresh one, the token, and the row."""
    token = token or tokens.fresh()
    key = dataclasses.replace(key, hint=tokens.hint_of(token))
    row = dataclasses.asdict(key)
    row |= {"scopes": json.dumps(key.scopes), "hash": tokens.hash_of(token)}
    return key, token, row


def _found(tx: Tx, tenant: str, key_id: str) -> Key:
    row = tx.row(_GET, {"tenant": tenant, "id": key_id})
    if row is None:
        raise NotFound(f"no key {key_id}")
    return _key(row)


def _key(row: Row) -> Key:
    key_id, tenant, name, hint, scopes, *rest = row
    return Key(key_id, tenant, name, hint, tuple(json.loads(scopes)), *rest)


def _checked_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > NAME_LIMIT or not name.isprintable():
        raise InputError(f"name: 1 to {NAME_LIMIT} printable characters")
    return name


def _positive(part: str, value: int | None) -> int | None:
    if value is not None and not 1 <= value <= 1_000_000_000:
        raise InputError(f"{part}: from 1 to 1000000000, not {value}")
    return value


def _lifetime(seconds: float) -> float:
    if not 0 < seconds <= _LONGEST:
        raise InputError(f"expires_in: more than 0 and up to {_LONGEST:.0f} seconds")
    return seconds
