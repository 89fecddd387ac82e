"""A journal, new for its test, in each database."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from understudy.db.database import Database
from understudy.db.postgres import PostgreSQL
from understudy.engine.journal import Journal
from understudy.engine.journals.database import DatabaseJournal
from understudy.testing.conformance.rows import telling
from understudy.testing.peers import peers


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with the schema and nothing in it."""
    path = tmp_path_factory.mktemp("migrated") / "understudy.db"

    async def create() -> None:
        async with await Database.open(f"sqlite:///{path}"):
            pass

    asyncio.run(create())
    return path


@pytest.fixture
def sqlite(tmp_path: Path, migrated: Path) -> Iterator[Database]:
    """A new database in a real file."""
    path = tmp_path / "understudy.db"
    shutil.copyfile(migrated, path)
    database = asyncio.run(Database.open(f"sqlite:///{path}"))
    yield database
    asyncio.run(database.close())


@pytest.fixture
def postgresql(postgres_url: str) -> Iterator[Database]:
    """A new database in a real server, whose clock is the test's."""
    database = asyncio.run(Database.of(PostgreSQL(postgres_url, own_clock=False)))
    yield database
    asyncio.run(database.close())


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Database:
    """One after the other: SQLite in memory and in a file, PostgreSQL."""
    if request.param == "memory":
        return Database.in_memory()
    database: Database = request.getfixturevalue(request.param)
    return database


@pytest.fixture
def journal(database: Database) -> Journal:
    """The journal in each database."""
    return DatabaseJournal(database, tells=telling)


Journals = tuple[Journal, Journal]


@pytest.fixture
def journals(database: Database, request: pytest.FixtureRequest) -> Iterator[Journals]:
    """The journals of two processes on one database, which on PostgreSQL share only the server."""
    second = database
    if database.driver is not None and database.driver.dialect == "postgresql":
        url = request.getfixturevalue("postgres_url")
        second = asyncio.run(Database.of(PostgreSQL(url, own_clock=False)))
    one, two = peers([database, second])
    yield one, two
    if second is not database:
        asyncio.run(second.close())
