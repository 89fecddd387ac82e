"""Sessions of browsers and one-time links, on real databases of both kinds."""

from __future__ import annotations

import asyncio

import pytest

from understudy.accounts.keys import Keys
from understudy.accounts.operator import OperatorKey
from understudy.accounts.principal import Principal, anonymous
from understudy.accounts.sessions import LASTS, LINK_LASTS, Sessions
from understudy.clock import ManualClock
from understudy.db.database import Database, sql
from understudy.errors import Unauthorized

OPERATOR = OperatorKey("acme", "x" * 32)
_STORED = sql("SELECT * FROM sessions")


async def test_a_session_has_the_rights_of_its_key(any_url: str, clock: ManualClock) -> None:
    """And its limits, in every process; no row holds the browser's token or the form's."""
    async with await Database.open(any_url) as database:
        keys = Keys(database, clock)
        _, key = await keys.create("acme", "ops", ["submit"], per_minute=60, at_once=3)
        principal = await keys.authenticate(key)
        token, made = await Sessions(database, clock).create(principal)
        found = await Sessions(database, clock).get(token)
        assert found == made
        assert found.principal == principal
        assert found.expires_at == clock.now() + LASTS
        stored = str(await database.read(lambda tx: tx.rows(_STORED)))
        assert token not in stored
        assert found.csrf not in stored
        assert token not in repr(found)
        assert found.csrf not in repr(found)


async def test_a_form_must_come_from_this_session(url: str, clock: ManualClock) -> None:
    """Another session's token is refused, and so is any text."""
    async with await Database.open(url) as database:
        sessions = Sessions(database, clock)
        (_, one), (_, other) = [await sessions.create(anonymous("acme")) for _ in range(2)]
        assert one.fits(one.csrf)
        assert not one.fits(other.csrf)
        assert not one.fits("")
        assert not one.fits("\udcff")


async def test_a_session_ends_with_its_time(any_url: str, clock: ManualClock) -> None:
    """After twelve hours; its row goes when the next one comes."""
    async with await Database.open(any_url) as database:
        sessions = Sessions(database, clock)
        token, _ = await sessions.create(anonymous("acme"))
        clock.advance(LASTS - 1)
        assert await sessions.get(token) is not None
        clock.advance(1)
        assert await sessions.get(token) is None
        await sessions.create(anonymous("acme"))
        assert len(await database.read(lambda tx: tx.rows(_STORED))) == 1


async def test_a_session_ends_with_its_key(any_url: str, clock: ManualClock) -> None:
    """When the key is revoked, and when it expires; at once, in every process."""
    async with await Database.open(any_url) as database:
        keys, sessions = Keys(database, clock), Sessions(database, clock)
        revoked, first = await keys.create("acme", "one", ["read"])
        _, second = await keys.create("acme", "two", ["read"], expires_in=60)
        tokens = [
            (await sessions.create(await keys.authenticate(token)))[0] for token in (first, second)
        ]
        await keys.revoke("acme", revoked.id)
        assert await sessions.get(tokens[0]) is None
        assert await sessions.get(tokens[1]) is not None
        clock.advance(60)
        assert await sessions.get(tokens[1]) is None


async def test_signing_out_ends_one_session(any_url: str, clock: ManualClock) -> None:
    """The key's others go on, until all of them are ended."""
    async with await Database.open(any_url) as database:
        keys, sessions = Keys(database, clock), Sessions(database, clock)
        key, shown = await keys.create("acme", "ops", ["admin"])
        who = await keys.authenticate(shown)
        first, second = [(await sessions.create(who))[0] for _ in range(2)]
        await sessions.revoke(first)
        assert await sessions.get(first) is None
        assert await sessions.get(second) is not None
        assert await sessions.revoke_of(key.id) == 1
        assert await sessions.get(second) is None


async def test_a_session_of_the_settings_key_ends_when_that_changes(
    url: str, clock: ManualClock
) -> None:
    """A process with another key, or without one, does not know it."""
    async with await Database.open(url) as database:
        sessions = Sessions(database, clock, OPERATOR)
        token, made = await sessions.create(OPERATOR.principal)
        assert await sessions.get(token) == made
        changed = OperatorKey("acme", "y" * 32)
        assert await Sessions(database, clock, changed).get(token) is None
        assert await Sessions(database, clock).get(token) is None


async def test_a_key_of_another_tenant_keeps_no_session_alive(url: str, clock: ManualClock) -> None:
    """The row's tenant and the key's must be the same."""
    async with await Database.open(url) as database:
        keys, sessions = Keys(database, clock), Sessions(database, clock)
        key, shown = await keys.create("acme", "ops", ["read"])
        who = await keys.authenticate(shown)
        strange = Principal("other", key.id, who.name, who.scopes)
        token, _ = await sessions.create(strange)
        assert await sessions.get(token) is None


async def test_a_link_opens_one_session(any_url: str, clock: ManualClock) -> None:
    """Of many browsers that use it at once, one is let in, with every right."""
    async with await Database.open(any_url) as database:
        sessions = Sessions(database, clock)
        link = await sessions.link("acme")
        tried = await asyncio.gather(
            *(sessions.redeem(link) for _ in range(8)), return_exceptions=True
        )
        made = [one for one in tried if not isinstance(one, BaseException)]
        assert len(made) == 1
        assert all(isinstance(one, Unauthorized) for one in tried if one not in made)
        token, session = made[0]
        assert await sessions.get(token) == session
        assert session.principal.tenant == "acme"
        assert session.principal.may("admin")


async def test_a_link_is_no_session_and_a_session_no_link(url: str, clock: ManualClock) -> None:
    """And a link that waited for too long is refused."""
    async with await Database.open(url) as database:
        sessions = Sessions(database, clock)
        link = await sessions.link("acme")
        token, _ = await sessions.create(anonymous("acme"))
        assert await sessions.get(link) is None
        for wrong in (token, "", "\udcff"):
            with pytest.raises(Unauthorized, match="used before, or is too old"):
                await sessions.redeem(wrong)
        clock.advance(LINK_LASTS)
        with pytest.raises(Unauthorized):
            await sessions.redeem(link)
