"""Which driver a database URL names."""

from __future__ import annotations

from understudy.db.driver import Driver
from understudy.db.sqlite import SQLite

_POSTGRESQL = ("postgresql:", "postgres:")


def driver_of(url: str) -> Driver:
    """The driver for `sqlite:///…` or `postgresql://…`; nothing is opened.

    Raises ConfigError for any other URL.
    """
    if url.startswith(_POSTGRESQL):
        from understudy.db.postgres import PostgreSQL  # noqa: PLC0415 - its library takes 60 ms

        return PostgreSQL(url)
    return SQLite(url)
