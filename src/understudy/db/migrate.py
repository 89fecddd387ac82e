"""Bring a database file to this release's schema, once, whoever starts first.

Alembic does the work, but costs a noticeable part of a second to import; a file that is already
up to date is recognised with one plain query.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import NamedTuple

from understudy.db import sqlite
from understudy.db.lock import exclusive
from understudy.errors import ConfigError, SchemaTooNew

MIGRATIONS = Path(__file__).parent / "migrations"


class SchemaStatus(NamedTuple):
    """Where a database stands: its revision (None: empty or absent), ours, and those between."""

    current: str | None
    head: str
    pending: tuple[str, ...]


async def schema_status(url: str) -> SchemaStatus:
    """Look without changing anything. Raises SchemaTooNew or ConfigError as opening would."""
    return await asyncio.to_thread(_status, sqlite.path_of(url))


def migrate(path: Path) -> None:
    """Apply what is pending, all or nothing, under a lock file. Blocks.

    Raises SchemaTooNew when the file is ahead of this release, ConfigError when it holds something
    else than our tables.
    """
    if not _status(path).pending:
        return
    with exclusive(path):
        if _status(path).pending:
            _upgrade(path)


def revisions() -> tuple[str, ...]:
    """All revisions of this release in order: the names of the files, which begin with a number."""
    return tuple(sorted(file.stem for file in (MIGRATIONS / "versions").glob("[0-9]*.py")))


def _status(path: Path) -> SchemaStatus:
    known = revisions()
    current = _current(path)
    if current is None:
        return SchemaStatus(None, known[-1], known)
    if current not in known:
        raise SchemaTooNew(
            f"{path} has schema {current}, which this release (up to {known[-1]}) does not know:"
            " it was written by a newer Understudy; install that one, or name another database"
        )
    return SchemaStatus(current, known[-1], known[known.index(current) + 1 :])


def _current(path: Path) -> str | None:
    if not path.exists() or path.stat().st_size == 0:
        return None
    with sqlite.understanding(path), contextlib.closing(sqlite.inspect(path)) as connection:
        tables = {name for (name,) in connection.execute(_TABLES)}
        if "alembic_version" in tables:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            return None if row is None else str(row[0])
    if tables:
        raise ConfigError(f"{path} is a database of another program: move it away, or name another")
    return None


_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"


def _upgrade(path: Path) -> None:
    from alembic import command  # noqa: PLC0415 - 150 ms, and only a new file needs it
    from alembic.config import Config  # noqa: PLC0415
    from sqlalchemy import create_engine, pool  # noqa: PLC0415

    engine = create_engine(
        "sqlite://", creator=lambda: sqlite.connect(path), poolclass=pool.NullPool
    )
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    try:
        with sqlite.understanding(path), engine.connect() as connection:
            # The driver is in manual mode, so this one transaction holds every migration: a process
            # killed half way leaves the file as it was.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.exec_driver_sql("COMMIT")
    finally:
        engine.dispose()
