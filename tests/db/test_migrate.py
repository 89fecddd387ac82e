"""How a database gets its schema, and which databases are left alone."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from understudy.db.database import Database
from understudy.db.migrate import migrate, revisions, schema_status
from understudy.db.schema import metadata
from understudy.errors import ConfigError, SchemaTooNew

OPEN = """
import asyncio, sys
from understudy.db.database import Database

async def main():
    input()  # all start together
    async with await Database.open(sys.argv[1]):
        print("open")

asyncio.run(main())
"""


def ddl(path: Path) -> dict[str, list[str]]:
    """Each table and index of a file, as a set of clauses without spacing."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found = connection.execute(
            "SELECT name, sql FROM sqlite_master"
            " WHERE sql IS NOT NULL AND name != 'alembic_version'"
        ).fetchall()
    return {
        name: sorted(re.sub(r"\s+", " ", line).strip(" ,") for line in sql.split("\n"))
        for name, sql in found
    }


def stamp(path: Path, revision: str) -> None:
    """Pretend that a database is at a revision."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        connection.commit()


def content(path: Path) -> bytes:
    """All of a file."""
    return path.read_bytes()


def overwrite(path: Path, data: bytes) -> None:
    """Give a file other content."""
    path.write_bytes(data)


def test_the_migrations_add_up_to_the_schema(path: Path, tmp_path: Path) -> None:
    """A migrated file has every table, check, key and index of the schema, and no other."""
    path.parent.mkdir()
    migrate(path)
    engine = create_engine(f"sqlite:///{tmp_path / 'defined.db'}")
    metadata.create_all(engine)
    engine.dispose()
    assert ddl(path) == ddl(tmp_path / "defined.db")
    assert "runs_due" in ddl(path)
    assert any("runs_status" in clause for clause in ddl(path)["runs"])


def test_revisions_follow_each_other() -> None:
    """Each migration's file bears its revision's name, and names the one before it."""
    from alembic.script import ScriptDirectory

    from understudy.db.migrate import MIGRATIONS

    script = ScriptDirectory(str(MIGRATIONS))
    assert [one.revision for one in reversed(list(script.walk_revisions()))] == list(revisions())


async def test_status(url: str, path: Path) -> None:
    """Asking changes nothing, not even for a file that is not there."""
    head = revisions()[-1]
    assert await schema_status(url) == (None, head, revisions())
    assert not path.parent.exists()
    async with await Database.open(url):
        assert await schema_status(url) == (head, head, ())


async def test_an_up_to_date_file_needs_no_alembic(url: str, child: Callable[..., Any]) -> None:
    """The second opening of a file reads its revision and imports nothing for it."""
    async with await Database.open(url):
        pass
    process = child(f"{OPEN}\nprint('alembic' in sys.modules)", url)
    assert process.communicate("\n", timeout=60)[0].split() == ["open", "False"]


def test_many_processes_start_at_once(url: str, path: Path, child: Callable[..., Any]) -> None:
    """They all come up on one schema, whoever makes it."""
    processes = [child(OPEN, url) for _ in range(4)]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate(timeout=60)[0] for process in processes] == ["open\n"] * 4
    assert [process.returncode for process in processes] == [0] * 4
    assert len(ddl(path)["runs"]) > 30


def test_the_loser_of_the_race_does_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waited for the lock looks again, and finds the work done."""
    from understudy.db import lock
    from understudy.db import migrate as module

    path.parent.mkdir()
    exclusive = lock.exclusive

    @contextlib.contextmanager
    def late(database: Path) -> Any:
        monkeypatch.setattr(module, "exclusive", exclusive)
        migrate(path)
        monkeypatch.setattr(module, "_upgrade", upgraded.append)
        with exclusive(database):
            yield
            waited.append(database)

    upgraded: list[Path] = []
    waited: list[Path] = []
    monkeypatch.setattr(module, "exclusive", late)
    migrate(path)
    assert "runs" in ddl(path)
    assert (upgraded, waited) == ([], [path])


def test_a_failing_migration_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is all or nothing: a migration that breaks half way leaves the file as it was."""
    from alembic.operations import Operations

    path.parent.mkdir()
    create_index = Operations.create_index

    def fail(self: Operations, name: str, *args: Any, **options: Any) -> None:
        if name == "signals_by_name":
            raise RuntimeError("power cut")
        create_index(self, name, *args, **options)

    monkeypatch.setattr(Operations, "create_index", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        migrate(path)
    assert ddl(path) == {}
    monkeypatch.undo()
    migrate(path)
    assert "signals_by_name" in ddl(path)


async def test_a_newer_schema_is_refused(url: str, path: Path) -> None:
    """A file of a newer release is not touched, and the message says what to do."""
    async with await Database.open(url):
        pass
    stamp(path, "9999_future")
    before = content(path)
    with pytest.raises(SchemaTooNew, match=r"9999_future.*newer Understudy"):
        await Database.open(url)
    with pytest.raises(SchemaTooNew):
        await schema_status(url)
    assert content(path) == before


async def test_a_stranger_is_refused(url: str, path: Path) -> None:
    """A database of another program is not touched, nor is a file that is no database."""
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (id)")
    before = content(path)
    with pytest.raises(ConfigError, match="another program"):
        await Database.open(url)
    assert content(path) == before
    overwrite(path, b"no database at all, but long enough to be taken for one" * 100)
    with pytest.raises(ConfigError, match="not a SQLite database"):
        await Database.open(url)


async def test_an_unstamped_file_is_stamped(url: str, path: Path) -> None:
    """A file whose making ended before the first migration is made whole."""
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    async with await Database.open(url):
        assert "runs" in ddl(path)


def test_migrations_need_no_working_folder(path: Path) -> None:
    """Alembic is told by a path inside the package where its scripts are."""
    assert "alembic.ini" not in {file.name for file in Path.cwd().iterdir()}
    path.parent.mkdir()
    migrate(path)
    assert "alembic" in sys.modules
