"""The audit, on real databases of both kinds."""

from __future__ import annotations

from understudy.accounts.audit import KEPT, LONGEST, Audit
from understudy.clock import ManualClock
from understudy.db.database import Database


async def test_what_was_done_is_told_newest_first(any_url: str, clock: ManualClock) -> None:
    """Page by page, to its own tenant alone."""
    async with await Database.open(any_url) as database:
        audit = Audit(database, clock)
        for number in range(5):
            await audit.write("acme", "key_1 (ops)", "run.cancel", f"run_{number}", "why", "::1")
            clock.advance(1)
        await audit.write("other", "anonymous", "sign-in")
        first = await audit.list("acme", limit=3)
        rest = await audit.list("acme", before=first[-1].id, limit=3)
        assert [entry.subject for entry in (*first, *rest)] == [f"run_{n}" for n in (4, 3, 2, 1, 0)]
        newest = first[0]
        assert (newest.actor, newest.action) == ("key_1 (ops)", "run.cancel")
        assert (newest.reason, newest.address, newest.at) == ("why", "::1", clock.now() - 1)
        (theirs,) = await audit.list("other")
        assert (theirs.subject, theirs.reason, theirs.address) == (None, None, None)


async def test_what_strangers_wrote_can_be_stored(any_url: str, clock: ManualClock) -> None:
    """It is cut, and what a database refuses is replaced."""
    async with await Database.open(any_url) as database:
        audit = Audit(database, clock)
        await audit.write("acme", "a" * 10_000, "sign-in.refused", "nul\0", "half \ud83d")
        (entry,) = await audit.list("acme")
        assert entry.actor == "a" * LONGEST
        assert entry.subject == "nul\N{REPLACEMENT CHARACTER}"
        assert entry.reason == "half ?"


async def test_what_is_old_is_forgotten(any_url: str, clock: ManualClock) -> None:
    """By the entries that come later, once a day, for all tenants."""
    async with await Database.open(any_url) as database:
        audit = Audit(database, clock)
        await audit.write("acme", "anonymous", "sign-in")
        await audit.write("other", "anonymous", "sign-in")
        clock.advance(KEPT)
        await audit.write("acme", "anonymous", "sign-out")
        clock.advance(100)
        await audit.write("acme", "anonymous", "sign-in")
        assert len(await audit.list("acme")) == 3
        clock.advance(86_400)
        await audit.write("acme", "anonymous", "key.create")
        actions = [entry.action for entry in await audit.list("acme")]
        assert actions == ["key.create", "sign-in", "sign-out"]
        assert await audit.list("other") == ()
