"""Bearer keys, on real databases of both kinds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from understudy.accounts.keys import FRESH, KEPT, NAME_LIMIT, USED_EVERY, Keys
from understudy.accounts.operator import OperatorKey
from understudy.accounts.token import fresh, hash_of
from understudy.clock import ManualClock
from understudy.db.database import Database, sql
from understudy.errors import ConfigError, Conflict, InputError, NotFound, Unauthorized

ADMIN_KEY = "a long word that is no token".replace(" ", "-")
_STORED = sql("SELECT * FROM api_keys")


class Counted(Database):
    """A database that counts how often it is read."""

    reads = 0

    async def read(self, query: Callable[..., Any]) -> Any:
        self.reads += 1
        return await super().read(query)


class Slow(Database):
    """A database whose first answer takes until it is told to go on."""

    def __init__(self, *how: Any) -> None:
        super().__init__(*how)
        self.has_read, self.goes_on = asyncio.Event(), asyncio.Event()

    async def read(self, query: Callable[..., Any]) -> Any:
        answer = await super().read(query)
        if not self.has_read.is_set():
            self.has_read.set()
            await self.goes_on.wait()
        return answer


async def test_a_key_is_made_shown_once_and_known_again(any_url: str, clock: ManualClock) -> None:
    """Its token says who asks; no column holds it; what it was made with is there."""
    async with await Database.open(any_url) as database:
        keys = Keys(database, clock)
        key, token = await keys.create(
            "acme", " ci ", ["read", "submit"], expires_in=60, per_minute=600, at_once=5
        )
        assert (key.name, key.scopes, key.hint) == ("ci", ("submit", "read"), token[-4:])
        assert (await keys.get("acme", key.id), *await keys.list("acme")) == (key, key)
        principal = await keys.authenticate(token)
        assert (principal.tenant, principal.key_id, principal.name) == ("acme", key.id, "ci")
        assert principal.scopes == {"submit", "read"}
        assert (principal.per_minute, principal.at_once) == (600, 5)
        stored = await database.read(lambda tx: tx.rows(_STORED))
        assert token not in str(stored)
        assert token[3:33] not in str(stored)


async def test_another_tenant_does_not_see_a_key(any_url: str, clock: ManualClock) -> None:
    """Not by looking, nor by ending or rotating it; and nothing happens to it."""
    async with await Database.open(any_url) as database:
        keys = Keys(database, clock)
        key, token = await keys.create("acme", "ci", ["read"])
        assert await keys.list("other") == ()
        for tried in (
            keys.get("other", key.id),
            keys.revoke("other", key.id),
            keys.rotate("other", key.id, 0),
        ):
            with pytest.raises(NotFound, match=key.id):
                await tried
        assert (await keys.authenticate(token)).tenant == "acme"
        assert len(await keys.list("acme")) == 1


async def test_a_revoked_key_is_refused_here_at_once_and_elsewhere_soon(
    any_url: str, clock: ManualClock
) -> None:
    """A process that has just used a key believes it for less than five seconds more."""
    assert FRESH < 5
    async with await Database.open(any_url) as ours, await Database.open(any_url) as theirs:
        here, there = Keys(ours, clock), Keys(theirs, clock)
        key, token = await here.create("acme", "ci", ["read"])
        await here.authenticate(token)
        await there.authenticate(token)
        revoked = await here.revoke("acme", key.id)
        assert revoked.state(clock.now()) == "revoked"
        with pytest.raises(Unauthorized, match="was revoked"):
            await here.authenticate(token)
        clock.advance(FRESH)
        with pytest.raises(Unauthorized, match="was revoked"):
            await there.authenticate(token)
        clock.advance(1)
        assert (await here.revoke("acme", key.id)).revoked_at == revoked.revoked_at


async def test_a_revocation_beats_a_look_that_was_under_way(url: str, clock: ManualClock) -> None:
    """What was read before it is not believed after it."""
    async with await Slow.open(url) as database:
        keys = Keys(database, clock)
        key, token = await keys.create("acme", "ci", ["read"])
        early = asyncio.create_task(keys.authenticate(token))
        await database.has_read.wait()
        await keys.revoke("acme", key.id)
        database.goes_on.set()
        assert (await early).name == "ci"
        with pytest.raises(Unauthorized):
            await keys.authenticate(token)


async def test_a_key_ends_when_its_time_is_over(url: str, clock: ManualClock) -> None:
    """To the second, also while the process still believes what it read."""
    async with await Database.open(url) as database:
        keys = Keys(database, clock)
        key, token = await keys.create("acme", "ci", ["read"], expires_in=1.5)
        clock.advance(1.0)
        await keys.authenticate(token)
        clock.advance(0.5)
        with pytest.raises(Unauthorized, match="has expired"):
            await keys.authenticate(token)
        assert key.state(clock.now()) == "expired"


async def test_requests_cost_no_query(url: str, clock: ManualClock) -> None:
    """A thousand read the row once, also when they come together, and tokens that nobody knows
    cost as little.
    """
    async with await Counted.open(url) as database:
        keys = Keys(database, clock)
        _, token = await keys.create("acme", "ci", ["read"])
        stranger = fresh()
        for one in (token, stranger):
            database.reads = 0
            asked = (keys.authenticate(one) for _ in range(1000))
            await asyncio.gather(*asked, return_exceptions=True)
            assert database.reads == 1
        clock.advance(FRESH)
        await keys.authenticate(token)
        assert database.reads == 2


async def test_a_caller_that_goes_away_does_not_spoil_it_for_others(
    url: str, clock: ManualClock
) -> None:
    """They wait for the same look, which goes on."""
    async with await Database.open(url) as database:
        keys = Keys(database, clock)
        _, token = await keys.create("acme", "ci", ["read"])
        gone, stays = (asyncio.create_task(keys.authenticate(token)) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        assert (await stays).name == "ci"
        assert gone.cancelled()


async def test_the_memory_of_tokens_is_bounded(clock: ManualClock) -> None:
    """Whoever tries tokens at random does not fill it."""
    async with Database.in_memory() as database:
        keys = Keys(database, clock)
        for _ in range(KEPT + 10):
            with pytest.raises(Unauthorized, match="not known"):
                await keys.authenticate(fresh())
        assert len(keys._known) == KEPT


@pytest.mark.parametrize("wrong", ["", "us_", "Bearer", "us_" + "a" * 35, "us_\udcff" + "a" * 35])
async def test_what_is_no_token_costs_nothing(wrong: str, clock: ManualClock) -> None:
    """It is refused without a look at the database, whatever it holds."""
    async with Database.in_memory() as database:
        await database.close()
        with pytest.raises(Unauthorized, match="this is no key"):
            await Keys(database, clock).authenticate(wrong)


async def test_the_last_use_is_noted_once_a_minute(any_url: str, clock: ManualClock) -> None:
    """By whichever process: not at each request."""
    async with await Database.open(any_url) as database:
        keys = Keys(database, clock)
        key, token = await keys.create("acme", "ci", ["read"])
        assert key.used_at is None
        first = clock.now()
        await keys.authenticate(token)
        clock.advance(USED_EVERY - 1)
        await keys.authenticate(token)
        await Keys(database, clock).authenticate(token)
        assert await _used_at(keys, key.id) == first
        clock.advance(1)
        there = Keys(database, clock)
        await there._look(hash_of(token))  # so that it knows of no later use
        await keys.authenticate(token)
        again = clock.now()
        assert await _used_at(keys, key.id) == again
        clock.advance(1)
        await there.authenticate(token)
        assert await _used_at(keys, key.id) == again


async def _used_at(keys: Keys, key_id: str) -> float | None:
    await keys._database.write(lambda _: None)  # what was posted before is written
    return (await keys.get("acme", key_id)).used_at


async def test_rotation_overlaps(any_url: str, clock: ManualClock) -> None:
    """Old and new both work for a while, then the new one alone, which is otherwise the same."""
    async with await Database.open(any_url) as database:
        keys = Keys(database, clock)
        old, before = await keys.create("acme", "ci", ["submit"], expires_in=1000, at_once=7)
        clock.advance(100)
        new, after = await keys.rotate("acme", old.id, 50)
        assert (new.name, new.scopes, new.at_once) == (old.name, old.scopes, 7)
        assert new.expires_at == clock.now() + 1000
        assert (new.hint, new.used_at) == (after[-4:], None)
        assert (await keys.authenticate(before)).key_id == old.id
        assert (await keys.authenticate(after)).key_id == new.id
        clock.advance(50)
        with pytest.raises(Unauthorized, match="has expired"):
            await keys.authenticate(before)
        assert (await keys.authenticate(after)).key_id == new.id
        with pytest.raises(Conflict, match="is expired"):
            await keys.rotate("acme", old.id, 0)


async def test_rotation_prolongs_no_key(url: str, clock: ManualClock) -> None:
    """An overlap past the old key's own end changes nothing; one without end gets one."""
    async with await Database.open(url) as database:
        keys = Keys(database, clock)
        short, _ = await keys.create("acme", "ci", ["read"], expires_in=10)
        endless, token = await keys.create("acme", "ops", ["admin"])
        await keys.rotate("acme", short.id, 1000)
        assert (await keys.get("acme", short.id)).expires_at == short.expires_at
        new, _ = await keys.rotate("acme", endless.id, 0)
        assert new.expires_at is None
        with pytest.raises(Unauthorized):
            await keys.authenticate(token)


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * (NAME_LIMIT + 1)}, "name"),
        ({"name": "ci\x1b[31m"}, "name"),
        ({"scopes": ["root"]}, "scope"),
        ({"expires_in": 0}, "expires_in"),
        ({"expires_in": float("nan")}, "expires_in"),
        ({"expires_in": float("inf")}, "expires_in"),
        ({"per_minute": 0}, "per_minute"),
        ({"at_once": -1}, "at_once"),
    ],
)
async def test_a_bad_key_is_not_made(faults: dict[str, Any], said: str, clock: ManualClock) -> None:
    """The message names the part; nothing is stored."""
    async with Database.in_memory() as database:
        keys = Keys(database, clock)
        with pytest.raises(InputError, match=said):
            await keys.create("acme", **{"name": "ci", "scopes": ["read"], **faults})
        assert await keys.list("acme") == ()
        assert not await keys.configured()


@pytest.mark.parametrize("overlap", [-1, float("nan"), float("inf")])
async def test_a_bad_overlap_is_refused(overlap: float, clock: ManualClock) -> None:
    """It is a number of seconds from now on."""
    async with Database.in_memory() as database:
        with pytest.raises(InputError, match="overlap"):
            await Keys(database, clock).rotate("acme", "key_1", overlap)


async def test_one_key_ever_made_closes_the_door_for_good(url: str, clock: ManualClock) -> None:
    """It is seen in other processes soon, and neither its end nor its expiry opens the door."""
    async with await Database.open(url) as database:
        here, there = Keys(database, clock), Keys(database, clock)
        assert not await there.configured()
        key, _ = await here.create("acme", "ci", ["read"], expires_in=1)
        assert await here.configured()
        clock.advance(FRESH)
        assert await there.configured()
        await here.revoke("acme", key.id)
        clock.advance(FRESH)
        assert await Keys(database, clock).configured()


async def test_the_settings_key_opens_everything(clock: ManualClock) -> None:
    """No row knows it; another word of its length is no key."""
    async with Database.in_memory() as database:
        keys = Keys(database, clock, OperatorKey("acme", ADMIN_KEY))
        assert await keys.configured()
        principal = await keys.authenticate(ADMIN_KEY)
        assert (principal.tenant, principal.name) == ("acme", "environment")
        assert principal.may("admin")
        for wrong in (ADMIN_KEY[:-1] + "x", ADMIN_KEY + "x", "\udcff"):
            with pytest.raises(Unauthorized):
                await keys.authenticate(wrong)


@pytest.mark.parametrize("weak", ["", "hunter2", "x" * 19, "with spaces " * 3, "\u00e4" * 30])
def test_a_weak_settings_key_is_refused(weak: str) -> None:
    """The message names the setting and shows how to make a good one, and never the word."""
    with pytest.raises(ConfigError, match="UNDERSTUDY_ADMIN_KEY") as caught:
        OperatorKey("acme", weak)
    assert not weak or weak not in caught.value.message
    assert ADMIN_KEY not in repr(OperatorKey("acme", ADMIN_KEY))
