"""A backup that is not whole, or does not fit, changes nothing and says why."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import sqlite3
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.app import App
from understudy.backup.manifest import FORMAT, NAME, Manifest
from understudy.backup.restoring import _Restoring, verify
from understudy.db import dump
from understudy.db.drivers import driver_of
from understudy.db.migrate import migrate
from understudy.errors import ConfigError, Conflict, InputError, SchemaTooNew, StorageError
from understudy.settings import Settings

Setting = Callable[..., Settings]
Save = Callable[[App, Path], Awaitable[Manifest]]
PutBack = Callable[[Path, Settings], Awaitable[Manifest]]
Change = Callable[[str, bytes], bytes | None]

BEFORE = "0002_many_workers"


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return [path.name for path in folder.iterdir()]


def nobody(_done: int, _total: int) -> None:
    """Nobody looks on."""


@contextlib.asynccontextmanager
async def small(settings: Settings) -> AsyncIterator[App]:
    """An app with two files."""
    async with App.open(settings) as app:
        for name in ("one", "two"):
            await app.artifacts.put(name.encode() * 100, name=f"{name}.txt")
        yield app


async def test_an_installation_that_is_not_empty_is_left_alone(
    settings: Setting, tmp_path: Path, save: Save, put_back: PutBack
) -> None:
    """Nothing is mixed: the database says what it has, and keeps it."""
    file = tmp_path / "backup.zip"
    async with small(settings("old")) as app:
        await save(app, file)
        before = await app.database.read(dump.count)
        with pytest.raises(InputError, match=r"backup\.zip: exists already"):
            await save(app, file)
    with pytest.raises(Conflict, match=r"old.understudy\.db is not empty \(2 rows of blobs\)"):
        await put_back(file, settings("old"))
    async with App.open(settings("old")) as app:
        assert await app.database.read(dump.count) == before
        assert len(list((tmp_path / "old" / "artifacts").rglob("*"))) == 5  # and their folders


async def test_bytes_that_are_gone_or_damaged_are_named_and_left_out(
    settings: Setting, tmp_path: Path, save: Save, put_back: PutBack
) -> None:
    """A disk with one bad file can still be saved; only its artifact is unknown then."""
    file = tmp_path / "backup.zip"
    async with small(settings("old")) as app:
        whole = await app.artifacts.put(b"whole", name="whole.txt")
        bad = [await app.artifacts.put(name, name="bad.txt") for name in (b"gone", b"rotten")]
        (await app.artifacts.path(bad[0].id)).unlink()
        (await app.artifacts.path(bad[1].id)).write_bytes(b"r0tten")
        manifest = await save(app, file)
    assert sorted(manifest.missing) == sorted(one.sha256 for one in bad)
    assert manifest.files == 3
    assert await verify(file, nobody) == manifest
    await put_back(file, settings("new"))
    async with App.open(settings("new")) as app:
        assert (await app.artifacts.path(whole.id)).read_bytes() == b"whole"
        counts = await app.database.read(dump.count)
    assert (counts["blobs"], counts["artifacts"]) == (3, 3)


def rewritten(source: Path, change: Change) -> Path:
    """A copy of a backup in which members are others, or missing."""
    target = source.with_name("changed.zip")
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
    return target


def in_manifest(**facts: Any) -> Callable[[str, bytes], bytes]:
    """Changes facts of the manifest."""
    return lambda name, data: (
        json.dumps(json.loads(data) | facts).encode() if name == NAME else data
    )


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (in_manifest(format=FORMAT + 1), InputError, "newer Understudy"),
        (in_manifest(revision="9999_later"), SchemaTooNew, "9999_later"),
        (
            in_manifest(tables={"strange": {"rows": 0, "sha256": ""}}),
            InputError,
            "newer Understudy",
        ),
        (lambda n, d: None if n == NAME else d, InputError, "no backup"),
        (lambda n, d: b"[]" if n == NAME else d, InputError, "no backup"),
        (lambda n, d: None if n == "tables/runs.jsonl" else d, InputError, "damaged"),
        (
            lambda n, d: d[::-1] if n.startswith("files/") else d,
            InputError,
            "is not what was saved",
        ),
        (lambda n, d: None if n.startswith("files/") else d, InputError, "damaged"),
        (
            lambda n, d: d.replace(b"one.txt", b"eno.txt"),
            InputError,
            r"tables/artifacts\.jsonl is not what was saved",
        ),
        (lambda n, d: b"{" if n == "tables/artifacts.jsonl" else d, InputError, "damaged"),
    ],
)
async def test_a_backup_that_is_not_sound_is_refused(
    settings: Setting,
    tmp_path: Path,
    change: Change,
    error: type[Exception],
    says: str,
    save: Save,
    put_back: PutBack,
) -> None:
    """The message says which part; nothing of it stays, so that a sound one can be restored."""
    file = tmp_path / "backup.zip"
    async with small(settings("old")) as app:
        await save(app, file)
    new = settings("new")
    with pytest.raises(error, match=says):
        await put_back(rewritten(file, change), new)
    assert not [path for path in new.files_folder.rglob("*") if path.is_file()]
    await put_back(file, new)


@pytest.mark.parametrize("size", [0, 100, -100])
async def test_a_file_that_is_no_backup(
    settings: Setting, tmp_path: Path, size: int, save: Save
) -> None:
    """An empty one, one that was cut off, one that is not there, a folder."""
    file = tmp_path / "backup.zip"
    async with small(settings("old")) as app:
        await save(app, file)
    file.write_bytes(file.read_bytes()[:size])
    for path in (file, tmp_path / "none.zip", tmp_path):
        with pytest.raises(InputError, match=r"is no backup|cannot be read"):
            await verify(path, nobody)


async def test_bytes_that_changed_in_the_file_are_found_by_reading_it(
    settings: Setting, tmp_path: Path, save: Save
) -> None:
    """`verify` compares every hash, and changes nothing."""
    file = tmp_path / "backup.zip"
    async with small(settings("old")) as app:
        await save(app, file)
    changed = rewritten(file, lambda n, d: d[::-1] if n.startswith("files/") else d)
    with pytest.raises(InputError, match="is not what was saved"):
        await verify(changed, nobody)
    data = file.read_bytes()
    file.write_bytes(data.replace(b"oneone", b"oneeno", 1))
    with pytest.raises(InputError, match="damaged"):
        await verify(file, nobody)


def columns_before(folder: Path) -> dict[str, list[str]]:
    """The tables and columns of an older release."""
    path = folder / "older.db"
    driver = driver_of(f"sqlite:///{path}")
    driver.create()
    migrate(driver, to=BEFORE)
    with contextlib.closing(sqlite3.connect(path)) as database:
        found = database.execute(
            "SELECT t.name, c.name FROM sqlite_master AS t, pragma_table_info(t.name) AS c "
            "WHERE t.type = 'table'"
        ).fetchall()
    return {name: [column for table, column in found if table == name] for name in dict(found)}


def as_before(source: Path, columns: dict[str, list[str]]) -> Path:
    """A backup as the older release would have made it."""
    target = source.with_name("older.zip")
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w") as older:
        manifest = json.loads(archive.read(NAME))
        tables = {}
        for name in manifest["tables"].keys() & columns.keys():
            rows = map(json.loads, archive.read(f"tables/{name}.jsonl").splitlines())
            lines = (json.dumps({key: row[key] for key in columns[name]}) + "\n" for row in rows)
            data = "".join(lines).encode()
            older.writestr(f"tables/{name}.jsonl", data)
            rows_and_sum = {"rows": data.count(b"\n"), "sha256": hashlib.sha256(data).hexdigest()}
            tables[name] = rows_and_sum
        older.writestr(NAME, json.dumps(manifest | {"tables": tables, "revision": BEFORE}))
    return target


async def test_a_backup_of_an_older_release_is_brought_up_to_date(
    settings: Setting, save: Save, put_back: PutBack, tmp_path: Path, any_target: str
) -> None:
    """It is loaded at its own schema and migrated, so that migrations see its rows."""
    file, log = tmp_path / "backup.zip", tmp_path / "log"
    async with App.open(settings("old")) as app:
        run = await app.engine.submit("ask", {"log": str(log)}, tenant="default")
        async with app.worker():
            await app.engine.emit("answer", {"text": "yes"}, tenant="default")
            done = await app.engine.result(run.id)
        await save(app, file)
    older = as_before(file, await asyncio.to_thread(columns_before, tmp_path))
    new = settings("new", any_target)
    await put_back(older, new)
    async with App.open(new) as app:
        assert (await app.engine.get(run.id)).output == done.output
        assert len(await app.engine.steps(run.id)) == 3
    with pytest.raises(ConfigError, match="has schema"):
        await put_back(older, new)


@pytest.mark.parametrize("at", ["files", "rows"])
async def test_a_restore_that_is_stopped(
    settings: Setting,
    save: Save,
    put_back: PutBack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    at: str,
) -> None:
    """Nothing is there, or all of it: rows that were being committed have their bytes."""
    file, new = tmp_path / "backup.zip", settings("new")
    async with small(settings("old")) as app:
        await save(app, file)
    loop = asyncio.get_running_loop()
    restoring = asyncio.ensure_future(put_back(file, new))
    where = "_file" if at == "files" else "_load"
    whole = getattr(_Restoring, where)

    def stopped(*arguments: Any) -> Any:
        done = whole(*arguments)
        loop.call_soon_threadsafe(restoring.cancel)
        return done

    monkeypatch.setattr(_Restoring, where, stopped)
    with pytest.raises(asyncio.CancelledError):
        await restoring
    monkeypatch.undo()
    async with App.open(new) as app:
        counts = await app.database.read(dump.count)
        # What was still coming in is left for the sweep, as after any kill.
        stored = [path for path in new.files_folder.glob("??/*") if path.is_file()]
        assert len(stored) == counts["blobs"] == (0 if at == "files" else 2)


async def test_a_target_that_cannot_be_written(
    settings: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: Save
) -> None:
    """A missing folder is named; a disk that refuses leaves nothing."""
    async with small(settings("old")) as app:
        with pytest.raises(InputError, match="there is no folder"):
            await save(app, tmp_path / "none" / "backup.zip")

        def refuse(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(zipfile.ZipFile, "write", refuse)
        with pytest.raises(StorageError, match=r"backup\.zip: cannot be written: No space"):
            await save(app, tmp_path / "backup.zip")
    assert not [name for name in names(tmp_path) if "backup" in name]


async def test_two_backups_of_one_name(
    settings: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: Save
) -> None:
    """Whoever is first keeps the name."""
    file = tmp_path / "backup.zip"
    write = zipfile.ZipFile.write

    def slow(*arguments: Any, **options: Any) -> None:
        file.write_text("somebody else's")
        write(*arguments, **options)

    async with small(settings("old")) as app:
        monkeypatch.setattr(zipfile.ZipFile, "write", slow)
        with pytest.raises(InputError, match="exists already"):
            await save(app, file)
    assert file.read_text() == "somebody else's"
