"""The addresses that tenants are told at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from understudy.accounts.webhooks import OVERLAP, PATIENCE, Webhooks, address_of
from understudy.clock import ManualClock
from understudy.db.database import Database, sql
from understudy.errors import AddressRefused, NotFound
from understudy.testing.internet import Internet

URL = "https://example.com/told"
_COUNT = sql("SELECT COUNT(*) FROM webhooks")


@asynccontextmanager
async def opened(url: str, clock: ManualClock) -> AsyncIterator[tuple[Webhooks, Database]]:
    """The webhooks of a database."""
    async with await Database.open(url) as database:
        yield Webhooks(database, clock, Internet({}).fetcher(clock)), database


async def test_an_address_is_known_once(any_url: str, clock: ManualClock) -> None:
    """Many runs with one address, whatever its query, share a row, a secret and a state."""
    async with opened(any_url, clock) as (webhooks, database):
        urls = [f"{URL}?run={n}" for n in range(10)]
        hooks = await asyncio.gather(*[webhooks.register("one", url) for url in urls])
        assert len({hook.id for hook in hooks}) == 1
        assert hooks[0].url == URL
        assert hooks[0].enabled
        other = await webhooks.register("two", URL)
        assert other.id != hooks[0].id
        assert await database.read(lambda tx: tx.scalar(_COUNT)) == 2
        secrets = await webhooks.secrets("one", hooks[0].id)
        assert secrets != await webhooks.secrets("two", other.id)


async def test_accepting_costs_a_write_once(url: str, clock: ManualClock) -> None:
    """A known address costs a submission nothing, and is the URL as it will be asked for."""
    async with opened(url, clock) as (webhooks, database):
        assert await webhooks.accept("one", "HTTPS://EXAMPLE.com/told?a#b") == f"{URL}?a"
        before = database.writer_stats.units
        assert await webhooks.accept("one", f"{URL}?c") == f"{URL}?c"
        assert database.writer_stats.units == before
        await webhooks.accept("two", URL)
        assert database.writer_stats.units == before + 1


async def test_what_is_remembered_is_bounded(
    url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenant that names ever new addresses does not fill the memory."""
    monkeypatch.setattr("understudy.accounts.webhooks._KEPT", 2)
    async with opened(url, clock) as (webhooks, _):
        for number in range(5):
            await webhooks.accept("one", f"{URL}/{number}")
        assert len(webhooks._known) == 2
        assert len(await webhooks.list("one")) == 5


@pytest.mark.parametrize("bad", ["http://example.com/", "https://10.0.0.1/", "https://a@b.c/", ""])
async def test_what_must_not_be_reached_is_no_address(
    url: str, clock: ManualClock, bad: str
) -> None:
    """An address that would be refused later is refused at once, and leaves no row."""
    async with opened(url, clock) as (webhooks, _):
        with pytest.raises(AddressRefused):
            await webhooks.accept("one", bad)
        with pytest.raises(AddressRefused):
            await webhooks.register("one", bad)
        assert await webhooks.list("one") == []


async def test_pages_of_addresses(any_url: str, clock: ManualClock) -> None:
    """The newest come first, each once, and nobody else's."""
    async with opened(any_url, clock) as (webhooks, _):
        made = []
        for number in range(5):
            clock.advance(1)
            made.append((await webhooks.register("one", f"{URL}/{number}")).id)
        await webhooks.register("two", URL)
        first = await webhooks.list("one", limit=3)
        rest = await webhooks.list("one", before=first[-1].id, limit=3)
        assert [hook.id for hook in [*first, *rest]] == made[::-1]


async def test_another_tenant_s_is_not_there(any_url: str, clock: ManualClock) -> None:
    """Nobody sees, changes or learns the secret of another tenant's address."""
    async with opened(any_url, clock) as (webhooks, _):
        hook = await webhooks.register("one", URL)
        for ask in (
            webhooks.get("two", hook.id),
            webhooks.secrets("two", hook.id),
            webhooks.rotate("two", hook.id),
            webhooks.enable("two", hook.id),
            webhooks.disable("two", hook.id, "no"),
            webhooks.get("one", "hook_unknown"),
        ):
            with pytest.raises(NotFound):
                await ask
        assert await webhooks.get("one", hook.id) == hook


async def test_a_replaced_secret_signs_for_a_while(any_url: str, clock: ManualClock) -> None:
    """Both sign until the time is over, the new one first; then the new one alone."""
    async with opened(any_url, clock) as (webhooks, _):
        hook = await webhooks.register("one", URL)
        (old,) = await webhooks.secrets("one", hook.id)
        rotated = await webhooks.rotate("one", hook.id)
        assert rotated.former_until == clock.now() + OVERLAP
        new, still = await webhooks.secrets("one", hook.id)
        assert (still, new == old) == (old, False)
        clock.advance(OVERLAP)
        assert await webhooks.secrets("one", hook.id) == (new,)
        await webhooks.rotate("one", hook.id, overlap=0)
        (newest,) = await webhooks.secrets("one", hook.id)
        assert newest not in {new, old}


async def test_switched_off_and_on(any_url: str, clock: ManualClock) -> None:
    """The first reason stays, and switching on forgets that it ever failed."""
    async with opened(any_url, clock) as (webhooks, _):
        hook = await webhooks.register("one", URL)
        off = await webhooks.disable("one", hook.id, "moved")
        assert (off.enabled, off.reason, off.disabled_at) == (False, "moved", clock.now())
        clock.advance(5)
        assert await webhooks.disable("one", hook.id, "again") == off
        assert await webhooks.enable("one", hook.id) == hook


async def test_patience_ends(any_url: str, clock: ManualClock) -> None:
    """An address is switched off after failing for long, counted from the first failure."""
    async with opened(any_url, clock) as (webhooks, _):
        hook = await webhooks.register("one", URL)
        hook = await webhooks.failed(hook, "it answered 500")
        since = clock.now()
        assert (hook.failing_since, hook.enabled) == (since, True)
        clock.advance(PATIENCE - 1)
        hook = await webhooks.failed(hook, "it answered 500")
        assert (hook.failing_since, hook.enabled) == (since, True)
        clock.advance(1)
        hook = await webhooks.failed(hook, "it answered 502")
        assert not hook.enabled
        assert hook.reason is not None
        assert "it answered 502" in hook.reason


async def test_one_success_restores_patience(any_url: str, clock: ManualClock) -> None:
    """After a message that was taken, the time counts anew."""
    async with opened(any_url, clock) as (webhooks, database):
        hook = await webhooks.failed(await webhooks.register("one", URL), "no")
        await webhooks.taken(hook)
        hook = await webhooks.get("one", hook.id)
        assert hook.failing_since is None
        before = database.writer_stats.units
        await webhooks.taken(hook)
        assert database.writer_stats.units == before


def test_the_address_of_a_url() -> None:
    """Query and fragment go, whatever stands in them."""
    assert address_of("https://a/b?c=?#d?e") == address_of("https://a/b#?") == "https://a/b"
