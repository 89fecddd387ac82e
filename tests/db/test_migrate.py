"""How a database gets its schema, and which databases are left alone."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect

from understudy.db import sqlite
from understudy.db.database import Database, sql
from understudy.db.driver import Driver
from understudy.db.drivers import driver_of
from understudy.db.migrate import MIGRATIONS, migrate, revisions, schema_status
from understudy.db.postgres import PostgreSQL
from understudy.db.postgres_session import LOCK
from understudy.db.schema import metadata
from understudy.db.sqlite import SQLite
from understudy.errors import ConfigError, SchemaTooNew, StorageFull

RUN = sql("SELECT id, epoch, claim, lane, held, idempotency_key FROM runs")
WAIT = sql("SELECT run_id, name, fields FROM waits")
SIGNAL = sql("SELECT name, data, idempotency_key FROM signals")

OPEN = """
import asyncio, sys
from understudy.db.database import Database

async def main():
    input()  # all start together
    async with await Database.open(sys.argv[1]):
        print("open")

asyncio.run(main())
"""


def tables(url: str) -> dict[str, Any]:
    """What a database consists of, as it understands it itself: columns, keys, checks, indexes.

    In whatever order and words they were made: a column that was added later stands last.
    """
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        look = inspect(connection)
        found = {
            name: {
                "columns": by_name(look.get_columns(name)),
                "key": look.get_pk_constraint(name)["constrained_columns"],
                "checks": by_name(look.get_check_constraints(name)),
                "unique": as_set(look.get_unique_constraints(name)),
                "foreign": as_set(look.get_foreign_keys(name)),
                "indexes": by_name(look.get_indexes(name)),
                "options": as_set([look.get_table_options(name)]),
            }
            for name in look.get_table_names()
            if name != "alembic_version"
        }
    engine.dispose()
    return found


def by_name(parts: Iterable[Any]) -> dict[str, str]:
    """Parts of a table by their names; how each is, as text."""
    return {part["name"]: as_text(part) for part in parts}


def as_set(parts: Iterable[Any]) -> set[str]:
    """Parts of a table that may have no name."""
    return {as_text(part) for part in parts}


def as_text(part: Any) -> str:
    """One part; conditions of indexes come as objects, one level down."""
    options = part.get("dialect_options", {})
    facts = {**part, "dialect_options": sorted((key, str(value)) for key, value in options.items())}
    return str(sorted((key, str(value)) for key, value in facts.items()))


def to_first_schema(driver: Driver) -> None:
    """Make a database as the first release did."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    driver.create()
    with driver.migrating() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001_first")


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


@pytest.fixture(params=["sqlite", "postgresql"])
def defined(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database that was made from the schema without any migration."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'defined.db'}"
        server = None
    else:
        server = request.getfixturevalue("postgres")
        url = server.create("defined")
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    metadata.create_all(engine)
    engine.dispose()
    yield url
    if server is not None:
        server.drop("defined")


async def test_the_migrations_add_up_to_the_schema(
    defined: str, url: str, request: pytest.FixtureRequest
) -> None:
    """A migrated database has every table, check, key and index of the schema, and no other."""
    migrated = url if defined.startswith("sqlite") else request.getfixturevalue("postgres_url")
    async with await Database.open(migrated):
        pass
    wanted = tables(defined)
    assert tables(migrated) == wanted
    assert "runs_status" in wanted["runs"]["checks"]
    assert "held != 1" in wanted["runs"]["indexes"]["runs_due"].replace("<>", "!=")
    assert "throttles" in wanted


def test_tables_without_row_numbers(path: Path, url: str) -> None:
    """What SQLite cannot be asked otherwise: which tables are stored in their key's order."""
    driver = driver_of(url)
    driver.create()
    migrate(driver)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        texts = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
        assert [name for name, sql in texts if "WITHOUT ROWID" in sql] == ["steps"]


async def test_an_upgrade_keeps_the_rows(any_url: str) -> None:
    """What the first release wrote is there after the upgrade, and what is new has its default."""
    driver = driver_of(any_url)
    to_first_schema(driver)
    with driver.migrating() as connection:
        connection.exec_driver_sql(
            "INSERT INTO runs (id, root_id, tenant, operation, version, input, status, plan,"
            " epoch, attempt, claim, worker, created_at)"
            " VALUES ('run_1', 'run_1', 't', 'film', 1, '{}', 'running', 'embedded',"
            " 2, 1, 'token', 'w', 5)"
        )
        connection.exec_driver_sql("INSERT INTO waits VALUES ('run_1', 'k', 't', 'ready')")
        connection.exec_driver_sql(
            "INSERT INTO signals (tenant, name, data, created_at) VALUES ('t', 'ready', '1', 3)"
        )
    status = await schema_status(any_url)
    assert (status.current, status.pending) == ("0001_first", revisions()[1:])
    async with await Database.open(any_url) as database:
        assert await database.read(lambda tx: tx.row(RUN)) == ("run_1", 2, "token", "", 0, None)
        assert await database.read(lambda tx: tx.row(WAIT)) == ("run_1", "ready", "{}")
        assert await database.read(lambda tx: tx.row(SIGNAL)) == ("ready", "1", None)
    assert (await schema_status(any_url)).pending == ()


def test_revisions_follow_each_other() -> None:
    """Each migration's file bears its revision's name, and names the one before it."""
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


def test_many_processes_start_at_once(any_url: str, child: Callable[..., Any]) -> None:
    """They all come up on one schema, whoever makes it."""
    processes = [child(OPEN, any_url) for _ in range(4)]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate(timeout=60)[0] for process in processes] == ["open\n"] * 4
    assert [process.returncode for process in processes] == [0] * 4
    assert "runs_due" in tables(any_url)["runs"]["indexes"]


@pytest.mark.parametrize("kind", [SQLite, PostgreSQL])
def test_the_loser_of_the_race_does_nothing(
    kind: Any, url: str, request: pytest.FixtureRequest
) -> None:
    """Who waited for the lock looks again, and finds the work done."""
    wanted = url if kind is SQLite else request.getfixturevalue("postgres_url")

    class Late(kind):  # type: ignore[misc]
        def migrating(self) -> Any:
            migrate(kind(wanted))
            return super().migrating()

    driver = Late(wanted)
    driver.create()
    migrate(driver)
    assert driver.revision() == revisions()[-1]


async def test_what_the_winner_did_is_seen(postgres_url: str) -> None:
    """Also on a server whose transactions look at the past by default."""
    with psycopg.connect(postgres_url) as winner:
        winner.execute(f"ALTER DATABASE {winner.info.dbname} SET default_transaction_isolation"
                       " = 'serializable'")  # fmt: skip
        winner.commit()
        winner.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK + 1])
        late = asyncio.create_task(Database.open(postgres_url))
        with psycopg.connect(postgres_url, autocommit=True) as watch:
            waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            while not await asyncio.to_thread(lambda: watch.execute(waiting).fetchone()):
                pass  # the server says when the other one waits
        winner.execute("CREATE TABLE alembic_version (version_num text)")
        winner.execute("INSERT INTO alembic_version VALUES (%s)", [revisions()[-1]])
        winner.commit()
        async with await late as database:
            assert database.place == driver_of(postgres_url).place
    assert tables(postgres_url) == {}


def test_a_failing_migration_leaves_nothing(any_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is all or nothing: a migration that breaks half way leaves the database as it was."""
    create_index = Operations.create_index

    def fail(self: Operations, name: str, *args: Any, **options: Any) -> None:
        if name == "signals_by_name":
            raise RuntimeError("power cut")
        create_index(self, name, *args, **options)

    driver = driver_of(any_url)
    driver.create()
    monkeypatch.setattr(Operations, "create_index", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        migrate(driver)
    assert tables(any_url) == {}
    monkeypatch.undo()
    migrate(driver)
    assert "signals_by_name" in tables(any_url)["signals"]["indexes"]


async def test_a_migration_that_finds_no_room(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What SQLite says in the middle of it is told as elsewhere, not in SQLAlchemy's wrapping."""
    connect = sqlite.connect

    def small(path: Path, **options: bool) -> sqlite3.Connection:
        connection = connect(path, **options)
        connection.execute("PRAGMA max_page_count = 3").fetchone()
        return connection

    monkeypatch.setattr(sqlite, "connect", small)
    with pytest.raises(StorageFull):
        await Database.open(url)


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


async def test_another_program_that_uses_alembic(any_url: str) -> None:
    """It is told by the names of its revisions, and not taken for a newer release of ours."""
    driver = driver_of(any_url)
    driver.create()
    with driver.migrating() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('ae1027a6acf')")
    with pytest.raises(ConfigError, match="another program") as refused:
        await Database.open(any_url)
    assert not isinstance(refused.value, SchemaTooNew)


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
        assert "runs" in tables(url)


def test_migrations_need_no_working_folder(url: str) -> None:
    """Alembic is told by a path inside the package where its scripts are."""
    assert "alembic.ini" not in {file.name for file in Path.cwd().iterdir()}
    driver = driver_of(url)
    driver.create()
    migrate(driver)
    assert "alembic" in sys.modules
