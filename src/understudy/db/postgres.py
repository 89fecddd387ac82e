"""PostgreSQL: a database for any number of processes and machines."""

from __future__ import annotations

import contextlib
import selectors
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import psycopg

from understudy.db.postgres_server import PlainConnection, Server, said
from understudy.db.postgres_session import CHANNEL, LOCK, PostgreSQLSession
from understudy.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import Connection

OLDEST = 13
"""The first version that says what became of a transaction by its 64-bit id."""

_FITNESS = """
SELECT current_setting('server_version_num')::int / 10000,
    current_setting('server_encoding'),
    current_setting('transaction_read_only') = 'on',
    CASE WHEN runs IS NULL THEN has_schema_privilege(current_schema(), 'CREATE') ELSE
        has_table_privilege(runs, 'SELECT') AND has_table_privilege(runs, 'INSERT')
        AND has_table_privilege(runs, 'UPDATE') AND has_table_privilege(runs, 'DELETE') END
FROM to_regclass(quote_ident(current_schema()) || '.runs') AS runs
"""

_TABLES = """
SELECT relname FROM pg_class
WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
    AND relkind IN ('r', 'p') AND NOT EXISTS (
        SELECT FROM pg_depend
        WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')
ORDER BY relname
"""
"""The tables of the schema, but for those that an extension brought."""


class PostgreSQL:
    """One PostgreSQL database, which any number of processes work on.

    With `own_clock` its time is everybody's. `pause` blocks for so many seconds between tries.
    """

    dialect = "postgresql"
    shared = True

    def __init__(
        self, url: str, *, own_clock: bool = True, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._own_clock = own_clock
        self._server = Server(url, pause)
        self.place = self._server.place

    def create(self) -> None:
        """Look whether it can be written; the database itself is its owner's to make."""
        with self._looking() as connection:
            row = connection.execute(_FITNESS).fetchone()
        assert row is not None
        version, encoding, read_only, writable = row
        if version < OLDEST:
            raise ConfigError(f"{self.place} is PostgreSQL {version}: use {OLDEST} or newer")
        if encoding != "UTF8":
            raise ConfigError(f"{self.place} has the encoding {encoding}: create it with UTF8")
        if read_only:
            raise ConfigError(
                f"{self.place} takes no writes: name the primary server,"
                " or take default_transaction_read_only off this user"
            )
        if not writable:
            raise ConfigError(
                f"this user may not write in {self.place}:"
                " GRANT CREATE ON SCHEMA public, or name the owner of its tables"
            )

    def revision(self) -> str | None:
        """The schema that it has, None when it is empty."""
        with self._looking() as connection:
            tables = [name for (name,) in connection.execute(_TABLES)]
            if "alembic_version" in tables:
                row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
                return None if row is None else str(row[0])
        if tables:
            raise ConfigError(
                f"{self.place} holds tables of another program ({', '.join(tables[:3])}):"
                " create a database for Understudy, and name that"
            )
        return None

    @contextlib.contextmanager
    def migrating(self) -> Iterator[Connection]:
        """One transaction under an advisory lock."""
        from sqlalchemy import create_engine, pool  # noqa: PLC0415 - only a new schema needs it

        engine = create_engine(
            "postgresql+psycopg://",
            creator=lambda: psycopg.connect(self._server.target),
            poolclass=pool.NullPool,
            # Who waited for the lock must see what its holder did.
            isolation_level="READ COMMITTED",
        )
        try:
            with engine.begin() as connection:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK + 1})")
                yield connection
        finally:
            engine.dispose()

    def connect(self, *, read_only: bool = False, unlocked: bool = False) -> PostgreSQLSession:
        """A session, which connects when it is used."""
        return PostgreSQLSession(
            self._server, own_clock=self._own_clock, read_only=read_only, unlocked=unlocked
        )

    @contextlib.contextmanager
    def listening(self, ended: int) -> Iterator[Callable[[], bool]]:
        """Yields a function that waits for an announcement, or for the descriptor `ended`.

        It answers whether another process has announced something.
        """
        with self._server.open() as connection, selectors.DefaultSelector() as selector:
            connection.execute(f"LISTEN {CHANNEL}")
            selector.register(connection.fileno(), selectors.EVENT_READ)
            selector.register(ended, selectors.EVENT_READ)

            def news() -> bool:
                selector.select()
                connection.pgconn.consume_input()
                senders = [notice.be_pid for notice in iter(connection.pgconn.notifies, None)]
                return not self._server.own_sessions.issuperset(senders)

            yield news

    def understood(self, error: BaseException) -> BaseException:
        """The house's error for what is about the server, the connection, or what it can hold."""
        return self._server.understood(error)

    @contextlib.contextmanager
    def _looking(self) -> Iterator[PlainConnection]:
        """A connection for a first look, before anything depends on the database."""
        try:
            with self._server.open() as connection:
                yield connection
        except psycopg.Error as error:
            told = self.understood(error)
            if isinstance(told, ConfigError):
                raise told from error
            raise ConfigError(
                f"the database {self.place} cannot be opened: {said(error)}."
                " Check the URL, and that its server runs and has that database"
            ) from error
