"""Bring a database to this release's schema, once, whoever starts first.

Alembic does the work, but costs a noticeable part of a second to import; a database that is already
up to date is recognised with one plain query.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import NamedTuple

from understudy.db.driver import Driver
from understudy.db.drivers import driver_of
from understudy.errors import ConfigError, SchemaTooNew

MIGRATIONS = Path(__file__).parent / "migrations"

_OURS = re.compile(r"\d{4}_\w+")
"""A revision's name; other programs that use Alembic have other ones."""


class SchemaStatus(NamedTuple):
    """Where a database stands: its revision (None: empty or absent), ours, and those between."""

    current: str | None
    head: str
    pending: tuple[str, ...]


async def schema_status(url: str) -> SchemaStatus:
    """Look without changing anything. Raises SchemaTooNew or ConfigError as opening would."""
    return await asyncio.to_thread(_status, driver_of(url))


def schema_of(driver: Driver) -> str | None:
    """A database's revision, None when it is empty or absent. Blocks. Raises as `migrate`."""
    return _status(driver).current


def migrate(driver: Driver, to: str = "head") -> None:
    """Apply what is pending, all or nothing, while nobody else does. Blocks.

    Raises SchemaTooNew when the database is ahead of this release, ConfigError when it holds
    something else than our tables.
    """
    if _status(driver).pending:
        _upgrade(driver, to)


def revisions() -> tuple[str, ...]:
    """All revisions of this release in order: the names of the files, which begin with a number."""
    return tuple(sorted(file.stem for file in (MIGRATIONS / "versions").glob("[0-9]*.py")))


def _status(driver: Driver) -> SchemaStatus:
    known = revisions()
    current = driver.revision()
    if current is None:
        return SchemaStatus(None, known[-1], known)
    if not _OURS.fullmatch(current):
        raise ConfigError(
            f"{driver.place} is a database of another program: name another, or make one"
        )
    if current not in known:
        raise SchemaTooNew(
            f"{driver.place} has schema {current}, which this release (up to {known[-1]}) does not "
            "know: it was written by a newer Understudy; install that one, or name another database"
        )
    return SchemaStatus(current, known[-1], known[known.index(current) + 1 :])


def _upgrade(driver: Driver, to: str) -> None:
    from alembic import command  # noqa: PLC0415 - 150 ms, and only a new database needs it
    from alembic.config import Config  # noqa: PLC0415
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    try:
        with driver.migrating() as connection:
            # Whoever lost the race finds nothing to do here.
            config.attributes["connection"] = connection
            command.upgrade(config, to)
    except DBAPIError as error:  # SQLAlchemy's wrapping of what the database said
        raise driver.understood(error.orig or error) from error
