"""Both journals, each new for its test."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from understudy.db.database import Database
from understudy.engine.journal import Journal
from understudy.engine.journals.database import DatabaseJournal
from understudy.engine.journals.memory import MemoryJournal


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
def database(tmp_path: Path, migrated: Path) -> Iterator[Database]:
    """A new database in a real file."""
    path = tmp_path / "understudy.db"
    shutil.copyfile(migrated, path)
    database = asyncio.run(Database.open(f"sqlite:///{path}"))
    yield database
    asyncio.run(database.close())


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest) -> Journal:
    """The journal in memory, then the one in SQLite."""
    if request.param == "memory":
        return MemoryJournal()
    return DatabaseJournal(request.getfixturevalue("database"))
