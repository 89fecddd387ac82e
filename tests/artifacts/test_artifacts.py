"""Files in, files out, files gone: what operations and surfaces rely on."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import io
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image
from sqlalchemy import text

from understudy.artifacts import records
from understudy.artifacts.artifacts import Artifacts
from understudy.artifacts.stores.disk import Disk
from understudy.clock import ManualClock
from understudy.db.database import Database, Statement, Tx
from understudy.errors import InputError, NotFound, StorageError, StorageFull
from understudy.testing.conformance.store import NOW

HOUR = 3600.0
ROWS = Statement(text("SELECT (SELECT count(*) FROM artifacts), (SELECT count(*) FROM blobs)"))


class Place(NamedTuple):
    """Everything that a test looks at."""

    files: Artifacts
    database: Database
    home: Path
    clock: ManualClock

    def stored(self) -> list[Path]:
        """The files in the store, finished or not."""
        return [path for path in (self.home / "artifacts").rglob("*") if path.is_file()]

    async def rows(self) -> tuple[int, int]:
        """How many artifacts and blobs there are."""
        return await self.database.read(lambda tx: tx.rows(ROWS)[0])


@pytest.fixture
def place(
    home: Path, store: Disk, clock: ManualClock
) -> contextlib.AbstractAsyncContextManager[Place]:
    """`async with place as p`: artifacts over a database of their own."""

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Place]:
        async with await Database.open(f"sqlite:///{home}/understudy.db") as database:
            yield Place(Artifacts(database, store, home / "tmp", clock), database, home, clock)

    return opened()


Opening = contextlib.AbstractAsyncContextManager[Place]


def picture(width: int = 12, height: int = 8) -> bytes:
    """A PNG of that size, in pixels."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(file, "PNG")
    return file.getvalue()


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    """A stream of what is given."""
    for piece in data:
        yield piece


async def test_put_and_read(place: Opening) -> None:
    """The facts are told from the content, and the bytes come back by path and by stream."""
    async with place as p:
        files = p.files.bound(tenant="t", user="u", run_id="run_1")
        data = picture()
        made = await files.put(data, name="folder/teal.jpg", expires_in=60)
        assert made.model_dump(exclude={"id"}) == {
            "name": "teal.jpg",
            "media_type": "image/png",
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "width": 12,
            "height": 8,
            "duration": None,
            "created_at": NOW,
            "expires_at": NOW + 60,
        }
        assert await files.get(made.id) == made
        assert (await files.path(made.id)).read_bytes() == data
        assert b"".join([piece async for piece in await files.open(made.id)]) == data
        owner = Statement(text("SELECT tenant, user_id, run_id FROM artifacts"))
        assert await p.database.read(lambda tx: tx.row(owner)) == ("t", "u", "run_1")


async def test_streams_and_files(place: Opening, tmp_path: Path) -> None:
    """A stream, an adopted and a copied file all become artifacts of the same kind."""
    async with place as p:
        source = tmp_path / "hello.txt"
        source.write_bytes(b"hello")
        made = [
            await p.files.put(pieces(b"hel", b"lo"), name="hello.txt"),
            await p.files.copy_in(source),
            await p.files.copy_in(source, name="renamed.txt"),
            await p.files.adopt(source, name="hello.txt"),
        ]
        assert [one.name for one in made] == ["hello.txt", "hello.txt", "renamed.txt", "hello.txt"]
        assert {one.media_type for one in made} == {"text/plain"}
        assert {one.sha256 for one in made} == {hashlib.sha256(b"hello").hexdigest()}
        assert len({one.id for one in made}) == 4
        assert not source.exists()
        with pytest.raises(InputError, match=r"hello\.txt"):
            await p.files.copy_in(source)


async def test_bytes_are_shared_inside_a_tenant(place: Opening) -> None:
    """Equal bytes lie once for each tenant, and never does one tenant's delete touch another's."""
    async with place as p:
        ours, theirs = p.files.bound(tenant="ours"), p.files.bound(tenant="theirs")
        one, two = await ours.put(b"same", name="1"), await ours.put(b"same", name="2")
        other = await theirs.put(b"same", name="3")
        assert await ours.path(one.id) == await ours.path(two.id) != await theirs.path(other.id)
        assert (await p.rows(), len(p.stored())) == ((3, 2), 2)
        await ours.delete(one.id)
        assert (await ours.path(two.id)).read_bytes() == b"same"
        await ours.delete(two.id)
        assert (await theirs.path(other.id)).read_bytes() == b"same"
        assert (await p.rows(), len(p.stored())) == ((1, 1), 1)


async def test_equal_puts_race(place: Opening) -> None:
    """However many put the same bytes at once, one file is kept and every artifact reads."""
    async with place as p:
        made = await asyncio.gather(*[p.files.put(b"same", name=str(n)) for n in range(20)])
        assert (await p.rows(), len(p.stored())) == ((20, 1), 1)
        for one in made:
            assert (await p.files.path(one.id)).read_bytes() == b"same"


async def test_a_stranger_finds_nothing(place: Opening) -> None:
    """Another tenant's id is as unknown as one that never was, for every use of it."""
    async with place as p:
        made = await p.files.bound(tenant="ours").put(b"secret", name="s")
        for files, one in (
            (p.files.bound(tenant="theirs"), made.id),
            (p.files.bound(tenant="ours"), "art_" + "0" * 26),
        ):
            for use in (files.get(one), files.path(one), files.open(one), files.delete(one)):
                with pytest.raises(NotFound, match=one):
                    await use
            with pytest.raises(NotFound):
                await files.keep(one, expires_in=None)
        assert await p.rows() == (1, 1)


async def test_the_door_of_a_file_s_own_tenant(place: Opening) -> None:
    """Who has proven that he may have a file gets to it, whoever's it is, while it is there."""
    async with place as p:
        made = await p.files.bound(tenant="ours").put(b"shared", name="s", expires_in=60)
        door = await p.files.door_of(made.id)
        assert door.tenant == "ours"
        assert (await door.path(made.id)).read_bytes() == b"shared"
        p.clock.advance(60)
        with pytest.raises(NotFound):
            await (await p.files.door_of(made.id)).get(made.id)
        await p.files.sweep()
        with pytest.raises(NotFound, match=made.id):
            await p.files.door_of(made.id)


async def test_expiry(place: Opening) -> None:
    """What has expired is gone at once, and its bytes at the next sweep."""
    async with place as p:
        short = await p.files.put(b"short", name="short", expires_in=60)
        long = await p.files.put(b"long", name="long")
        p.clock.advance(59)
        await p.files.get(short.id)
        p.clock.advance(1)
        with pytest.raises(NotFound):
            await p.files.get(short.id)
        with pytest.raises(NotFound):
            await p.files.keep(short.id, expires_in=60)
        assert await p.files.sweep() == (1, 0, 0, 0)
        assert (await p.rows(), len(p.stored())) == ((1, 1), 1)
        assert (await p.files.get(long.id)).expires_at is None


async def test_lifetimes(place: Opening) -> None:
    """A file without a time of its own gets the house's; it can be kept longer or for ever."""
    async with place as p:
        files = Artifacts(p.database, p.files.store, p.files.tmp, p.clock, lifetime=100.0)
        made = await files.put(b"x", name="x")
        assert made.expires_at == NOW + 100
        assert (await files.put(b"y", name="y", expires_in=5)).expires_at == NOW + 5
        results = dataclasses.replace(files, result_lifetime=900.0).results
        assert (await results.put(b"z", name="z")).expires_at == NOW + 900
        p.clock.advance(50)
        await files.keep(made.id, expires_in=500)
        assert (await files.get(made.id)).expires_at == NOW + 550
        await files.keep(made.id, expires_in=None)
        p.clock.advance(10**9)
        assert (await files.get(made.id)).expires_at is None


async def test_expired_with_many_pages(place: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep goes on until nothing is left, page by page, over bytes that are shared too."""
    monkeypatch.setattr(records, "PAGE", 2)
    async with place as p:
        for number in range(7):
            await p.files.put(str(number // 2).encode(), name="x", expires_in=1)
        p.clock.advance(2)
        assert await p.files.sweep() == (7, 0, 0, 0)
        assert (await p.rows(), p.stored()) == ((0, 0), [])


async def test_unused_bytes_and_orphans(place: Opening, store: Disk) -> None:
    """Bytes whose rows were removed otherwise go, and so do old files that no row knows."""
    async with place as p:
        await p.files.put(b"kept", name="kept")
        await p.files.put(b"unused", name="unused")
        drop = Statement(text("DELETE FROM artifacts WHERE name = 'unused'"))
        await p.database.write(lambda tx: tx.execute(drop))
        await store.put(pieces(b"orphan"))
        assert await p.files.sweep() == (0, 1, 0, 0)
        p.clock.advance(HOUR + 1)
        await store.put(pieces(b"being put just now"))
        assert await p.files.sweep() == (0, 0, 1, 0)
        assert sorted(path.read_bytes() for path in p.stored()) == [b"being put just now", b"kept"]


async def test_orphans_in_pages(
    place: Opening, store: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More orphans than a page holds all go in one sweep."""
    monkeypatch.setattr(records, "PAGE", 2)
    async with place as p:
        for number in range(5):
            await store.put(pieces(str(number).encode()))
        p.clock.advance(HOUR + 1)
        assert (await p.files.sweep()).orphans == 5
        assert p.stored() == []


async def test_puts_against_sweeps(place: Opening) -> None:
    """Puts, deletes and sweeps of the same bytes at once never leave an artifact without them."""
    async with place as p:

        async def put_and_read(number: int) -> None:
            for _ in range(6):
                made = await p.files.put(b"contended", name=str(number))
                assert (await p.files.path(made.id)).read_bytes() == b"contended"
                await p.files.delete(made.id)

        async def sweep() -> None:
            while not done.is_set():
                await p.files.sweep()

        done = asyncio.Event()
        sweeping = asyncio.ensure_future(sweep())
        await asyncio.gather(*[put_and_read(number) for number in range(5)])
        done.set()
        await sweeping
        assert (await p.rows(), p.stored()) == ((0, 0), [])


async def test_used_again_before_it_is_freed(place: Opening) -> None:
    """Bytes that a put took up between a sweep's look and its delete stay."""
    async with place as p:
        first = await p.files.put(b"again", name="1")
        drop = Statement(text("DELETE FROM artifacts"))
        await p.database.write(lambda tx: tx.execute(drop))
        found = await p.database.read(records.unused)
        again = await p.files.put(b"again", name="2")
        assert await p.database.write(lambda tx: records.free(tx, found)) == []
        assert first.sha256 == again.sha256
        assert (await p.files.path(again.id)).read_bytes() == b"again"


@pytest.mark.usefixtures("megabyte")
async def test_a_full_disk(place: Opening) -> None:
    """Neither row nor file is left of what did not fit."""
    async with place as p:
        with pytest.raises(StorageFull):
            await p.files.put(bytes(2_000_000), name="big")
        assert (await p.rows(), p.stored()) == ((0, 0), [])


async def test_a_database_that_refuses(place: Opening) -> None:
    """When the row cannot be stored the file goes too, and the error is the database's."""
    async with place as p:
        await p.database.close()
        with pytest.raises(StorageError, match="closed"):
            await p.files.put(b"x", name="x")
        assert p.stored() == []


async def test_a_cancel_while_the_row_is_written(
    place: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unit may be committed although nobody waits any more: then it has its bytes."""
    async with place as p:
        writing = asyncio.Event()

        async def write_slowly(unit: Callable[[Tx], object]) -> None:
            p.database.post(unit)
            writing.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(p.database, "write", write_slowly)
        task = asyncio.ensure_future(p.files.put(b"kept", name="x"))
        await writing.wait()
        task.cancel()
        await asyncio.wait([task])
        monkeypatch.undo()
        await p.database.write(lambda tx: None)
        assert (await p.rows(), [path.read_bytes() for path in p.stored()]) == ((1, 1), [b"kept"])


async def test_workspaces(place: Opening) -> None:
    """A workspace lies where its files can be adopted by renaming, and is gone afterwards."""
    async with place as p:
        async with p.files.workspace() as folder:
            assert folder.parent == p.home / "tmp"
            (folder / "film.txt").write_bytes(b"film")
            inode = (folder / "film.txt").stat().st_ino
            made = await p.files.adopt(folder / "film.txt", name="film.txt")
            assert (await p.files.path(made.id)).stat().st_ino == inode
            dead = p.home / "tmp" / f"{os.getpid()}-dead"
            dead.mkdir()
            assert (await p.files.sweep()).workspaces == 1
            assert folder.exists()
        assert not folder.exists()
