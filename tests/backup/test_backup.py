"""A backup holds everything, and what is restored goes on where it was."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.app import App
from understudy.backup.manifest import Manifest
from understudy.backup.restoring import verify
from understudy.backup.taking import back_up
from understudy.db import dump
from understudy.db.database import Database, Tx, sql
from understudy.db.migrate import revisions
from understudy.db.schema import metadata
from understudy.settings import Settings

BYTES = b"the bytes of a film"
Places = tuple[Settings, Settings]
Setting = Callable[..., Settings]
Save = Callable[[App, Path], Awaitable[Manifest]]
PutBack = Callable[[Path, Settings], Awaitable[Manifest]]


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return [path.name for path in folder.iterdir()]


def nobody(_done: int, _total: int) -> None:
    """Nobody looks on."""


@pytest.fixture(params=["sqlite-sqlite", "sqlite-postgresql", "postgresql-sqlite"])
def places(request: pytest.FixtureRequest, settings: Setting) -> Places:
    """Where a backup is made, and where it is restored."""
    urls = [
        request.getfixturevalue("postgres_url") if kind == "postgresql" else ""
        for kind in request.param.split("-")
    ]
    return settings("old", urls[0]), settings("new", urls[1])


async def rows_of(database: Database) -> dict[str, list[dict[str, Any]]]:
    """All rows, but for the places of bytes."""

    def read(tx: Tx) -> dict[str, list[dict[str, Any]]]:
        return {name: list(dump.rows_of(tx, name)) for name in dump.TABLES}

    rows = await database.read(read)
    for row in rows["blobs"]:
        del row["location"]
    return {name: sorted(some, key=json.dumps) for name, some in rows.items()}


async def until_waiting(app: App, run_id: str) -> None:
    """Drive a run up to its wait, and park it."""
    async with app.worker():
        async for change in app.engine.watching.watch(run_id, app.tenant, None):
            if change.run.status == "waiting":
                return


async def test_what_is_restored_is_all_there_and_goes_on(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, put_back: PutBack
) -> None:
    """Every row, every byte; the open run ends without doing its finished step again.

    Also from one database to the other. Tables are read two rows at a time.
    """
    monkeypatch.setattr(dump, "_PAGE", 2)
    old, new = places
    file, log = tmp_path / "backup.zip", tmp_path / "log"
    async with App.open(old) as app:
        run = await app.engine.submit("ask", {"log": str(log)}, tenant=app.tenant, user="anna")
        await until_waiting(app, run.id)
        for tenant in ("default", "other"):
            await app.artifacts.bound(tenant=tenant).put(BYTES, name="a.txt")
        mine = await app.artifacts.put(BYTES * 2, name="b.txt")
        for number in range(5):
            await app.engine.emit(
                "noise", {"n": number, "text": "snowman \u2603"}, tenant="default"
            )
        counted: list[tuple[int, int]] = []
        store = app.artifacts.store
        tell: Callable[[int, int], None] = lambda *count: counted.append(count)  # noqa: E731
        manifest = await back_up(app.database, store, app.clock, file, tell)
        before = await rows_of(app.database)
    assert manifest.files == 2
    assert manifest.bytes == 3 * len(BYTES)
    assert manifest.tables["signals"].rows == 5
    assert counted[-1][0] == counted[-1][1]
    assert file.stat().st_mode & 0o777 == 0o600
    assert await verify(file, nobody) == manifest
    assert await put_back(file, new) == manifest
    assert not [name for name in names(tmp_path) if name.startswith(".")]
    async with App.open(new) as app:
        assert await rows_of(app.database) == before
        assert (await app.artifacts.path(mine.id)).read_bytes() == BYTES * 2
        await app.artifacts.sweep()  # and none of it is taken for an accident
        assert (await app.artifacts.path(mine.id)).read_bytes() == BYTES * 2
        async with app.worker():
            await app.engine.emit("answer", {"text": "yes"}, tenant="default")
            done = await app.engine.result(run.id)
    assert done.output == '{"steps":2,"answer":"yes"}'
    assert log.read_text() == "step\nstep\n"


async def test_a_backup_is_of_one_moment(
    settings: Setting, tmp_path: Path, save: Save, put_back: PutBack
) -> None:
    """While others write, what is saved fits together; and saving stops nobody."""
    old, new = settings("old"), settings("new")
    file = tmp_path / "backup.zip"
    async with App.open(old) as app:
        ask = {"log": str(tmp_path / "log")}
        async with app.worker():
            runs = [app.engine.submit("ask", ask, tenant="default") for _ in range(60)]
            saving = asyncio.ensure_future(save(app, file))
            ids = [(await run).id for run in runs]
            manifest = await saving
        assert len(ids) == 60
    await put_back(file, new)
    async with App.open(new) as app:
        counts = await app.database.read(dump.count)
    assert counts == {name: facts.rows for name, facts in manifest.tables.items()}


async def test_numbering_goes_on(
    settings: Setting, tmp_path: Path, postgres_url: str, save: Save, put_back: PutBack
) -> None:
    """A signal after a restore gets a number of its own, also when there was none before."""
    file = tmp_path / "backup.zip"
    async with App.open(settings("old")) as app:
        await app.engine.emit("first", {}, tenant="default")
        await save(app, file)
    await put_back(file, settings("new", postgres_url))
    async with App.open(settings("new", postgres_url)) as app:
        await app.engine.emit("second", {}, tenant="default")
        found = await app.database.read(lambda tx: tx.rows(sql("SELECT name, id FROM signals")))
    assert sorted(found) == [("first", 1), ("second", 2)]


async def test_an_empty_installation(
    settings: Setting, tmp_path: Path, save: Save, put_back: PutBack
) -> None:
    """A backup of nothing is one. Who works and who is signed in is in none."""
    async with App.open(settings("old")) as app:
        manifest = await save(app, tmp_path / "backup.zip")
    assert manifest.revision == revisions()[-1]
    assert manifest.tables.keys() == set(dump.TABLES)
    assert set(dump.TABLES) | {"sessions", "workers"} == set(metadata.tables)
    await put_back(tmp_path / "backup.zip", settings("new"))
