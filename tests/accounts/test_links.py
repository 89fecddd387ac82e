"""Links that work without a key: one secret for the installation, made once."""

from __future__ import annotations

import asyncio

import pytest

from understudy.accounts.links import Links
from understudy.clock import ManualClock
from understudy.db.database import Database, sql
from understudy.errors import Forbidden

_COUNT = sql("SELECT COUNT(*) FROM secrets")


def parts(link: str) -> tuple[str, str, str]:
    """Path, expiry and signature of a link."""
    path, _, query = link.partition("?")
    expires, signature = (part.partition("=")[2] for part in query.split("&"))
    return path, expires, signature


async def test_every_process_believes_it(any_url: str, clock: ManualClock) -> None:
    """Processes that start at once agree on one secret, and a restart changes nothing."""
    async with await Database.open(any_url) as one, await Database.open(any_url) as two:
        links = [Links(database, clock, 60) for database in (one, two, one, two)]
        made = await asyncio.gather(*[each.sign("/v1/a") for each in links])
        assert len({link.path for link in made}) == 1
        assert made[0].expires_at == clock.now() + 60
        assert await one.read(lambda tx: tx.scalar(_COUNT)) == 1
        for each in links:
            await each.check(*parts(made[0].path))
        assert await Links(two, clock, 60).sign("/v1/a") == made[0]


async def test_it_ends_and_cannot_be_stretched(url: str, clock: ManualClock) -> None:
    """After its time, or for another path, it is refused with a reason."""
    async with await Database.open(url) as database:
        links = Links(database, clock, 60)
        path, expires, signature = parts((await links.sign("/v1/a")).path)
        with pytest.raises(Forbidden, match="not made here"):
            await links.check("/v1/b", expires, signature)
        with pytest.raises(Forbidden, match="not made here"):
            await links.check(path, str(int(expires) + 1), signature)
        with pytest.raises(Forbidden, match="when it expires"):
            await links.check(path, "", signature)
        clock.advance(60)
        with pytest.raises(Forbidden, match="expired"):
            await links.check(path, expires, signature)
