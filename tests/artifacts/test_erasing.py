"""A person's files go, and nobody else's; a tenant's own terms hold for what is stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.accounts.tenants import Days, Tenants
from understudy.artifacts.artifacts import Artifacts
from understudy.artifacts.erasing import ErasedFiles, erase_files
from understudy.artifacts.stores.disk import Disk
from understudy.clock import ManualClock
from understudy.db.database import Database
from understudy.engine.journals.database import DatabaseJournal
from understudy.errors import NotFound
from understudy.testing.conformance.rows import asked
from understudy.testing.conformance.store import NOW

TENANT = "tenant"
_DAY = 86_400.0


@pytest.fixture(params=["sqlite", "postgresql"])
def any_url(request: pytest.FixtureRequest, home: Path) -> str:
    """A database that is not there yet, of either kind."""
    if request.param == "sqlite":
        home.mkdir()
        return f"sqlite:///{home / 'understudy.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


def files_in(database: Database, home: Path, store: Disk, clock: ManualClock) -> Artifacts:
    """The door of a tenant that keeps files for a week, and results for a month."""
    return Artifacts(
        database=database,
        store=store,
        tmp=home / "tmp",
        clock=clock,
        lifetime=7 * _DAY,
        result_lifetime=30 * _DAY,
        terms=Tenants(database, clock),
        tenant=TENANT,
    )


async def test_what_was_theirs_is_gone(
    any_url: str, home: Path, store: Disk, clock: ManualClock
) -> None:
    """What was uploaded for them and what their runs had, with bytes that nobody else has."""
    async with await Database.open(any_url) as database:
        files = files_in(database, home, store, clock)
        journal = DatabaseJournal(database)
        ann = files.bound(tenant=TENANT, user="ann")
        own = [await ann.put(b"face", name="face.png"), await ann.put(b"same", name="a.txt")]
        upload = await files.put(b"given", name="input.txt")
        await journal.submit(asked("run_1", user="ann", input=f'"{upload.id}"'))
        made = await files.bound(tenant=TENANT, run_id="run_1").put(b"film", name="film.mp4")
        others = [
            (files, await files.put(b"same", name="b.txt")),
            (files, await files.bound(tenant=TENANT, user="bob").put(b"bob", name="b.txt")),
        ]
        far = files.bound(tenant="other", user="ann")
        others.append((far, await far.put(b"face", name="face.png")))
        assert await erase_files(files, "ann") == ErasedFiles(4, len(b"face" + b"given" + b"film"))
        assert await erase_files(files, "ann") == ErasedFiles(0, 0)
        for gone in (*own, upload, made):
            with pytest.raises(NotFound):
                await files.get(gone.id)
        for door, kept in others:
            assert (await door.path(kept.id)).read_bytes()
        assert sum(path.is_file() for path in (home / "artifacts").rglob("*")) == 3


async def test_a_tenants_terms_hold_for_what_is_stored_from_now_on(
    any_url: str, home: Path, store: Disk, clock: ManualClock
) -> None:
    """Files and results each for as long as the tenant has set, else as long as for all."""
    async with await Database.open(any_url) as database:
        files = files_in(database, home, store, clock)
        before = await files.put(b"1", name="1")
        await Tenants(database, clock).set(TENANT, Days(results=2))
        clock.advance(60)
        now = NOW + 60
        assert before.expires_at == NOW + 7 * _DAY
        assert (await files.put(b"2", name="2")).expires_at == now + 7 * _DAY
        assert (await files.results.put(b"3", name="3")).expires_at == now + 2 * _DAY
        far = files.bound(tenant="other")
        assert (await far.results.put(b"4", name="4")).expires_at == now + 30 * _DAY
        said = await files.results.put(b"5", name="5", expires_in=10)
        assert said.expires_at == now + 10
