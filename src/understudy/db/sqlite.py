"""What is particular to SQLite: opening a file well, and what its errors mean.

WAL lets readers go on while the writer writes; `synchronous=FULL` makes a commit durable before it
returns. Transactions are begun and ended by us (`isolation_level=None`), never by the driver.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import structlog

from understudy.db.checkpoints import Checkpoints
from understudy.db.driver import TransactionLost
from understudy.db.lock import exclusive
from understudy.db.tx import Tx
from understudy.errors import ConfigError, InputError, StorageError, StorageFull

if TYPE_CHECKING:
    from sqlalchemy import Connection

T = TypeVar("T")

_log = structlog.get_logger(__name__)

BUSY_SECONDS = 30.0
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "temp_store=MEMORY",
    "cache_size=-65536",  # 64 MiB: a batch of 2,000 units touches more pages than 2 MB hold
    "wal_autocheckpoint=65536",  # 256 MB: long before, `Checkpoints` has done it
    f"journal_size_limit={64 * 1024 * 1024}",
)
_URL = "sqlite:///"
_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"


class SQLite:
    """One database file on this machine. One process at a time drives its runs."""

    dialect = "sqlite"
    shared = False

    def __init__(self, url: str) -> None:
        self.path = path_of(url)
        self.place = str(self.path)

    def create(self) -> None:
        """Make the folder and the file unless they exist."""
        create(self.path)

    def revision(self) -> str | None:
        """The schema of the file, None when it is absent or empty."""
        if not self.path.exists() or self.path.stat().st_size == 0:
            return None
        with understanding(self.path), contextlib.closing(inspect(self.path)) as connection:
            tables = {name for (name,) in connection.execute(_TABLES)}
            if "alembic_version" in tables:
                row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
                return None if row is None else str(row[0])
        if tables:
            raise ConfigError(
                f"{self.path} is a database of another program: move it away, or name another"
            )
        return None

    @contextlib.contextmanager
    def migrating(self) -> Iterator[Connection]:
        """One transaction under the lock file."""
        from sqlalchemy import create_engine, pool  # noqa: PLC0415 - only a new file needs it

        engine = create_engine(
            "sqlite://", creator=lambda: connect(self.path), poolclass=pool.NullPool
        )
        try:
            with exclusive(self.path), engine.connect() as connection:
                # The driver is in manual mode, so this one transaction holds every migration: a
                # process killed half way leaves the file as it was.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                yield connection
                connection.exec_driver_sql("COMMIT")
        finally:
            engine.dispose()

    def connect(self, *, read_only: bool = False, unlocked: bool = False) -> SQLiteSession:  # noqa: ARG002
        """Open a connection in WAL mode with full durability."""
        connection = connect(self.path, query_only=read_only)
        checkpoints = None if read_only else Checkpoints(connect(self.path))
        return SQLiteSession(connection, self.path, checkpoints)

    def understood(self, error: BaseException) -> BaseException:
        """The house's error for what SQLite says about the disk."""
        return understood(error, self.path)


class SQLiteSession:
    """One connection. Every transaction that writes is alone: SQLite has one writer.

    One that writes to a file has `checkpoints`.
    """

    def __init__(
        self, connection: sqlite3.Connection, path: Path, checkpoints: Checkpoints | None = None
    ) -> None:
        self._connection = connection
        self._path = path
        self._checkpoints = checkpoints
        self._cursor = connection.cursor()
        self._tx = Tx(self._cursor, SQLite.dialect)

    def transact(self, work: Callable[[Tx], T], *, alone: bool) -> T:  # noqa: ARG002
        """Run `work` in a transaction that is durable on return."""
        try:
            self._patiently("BEGIN IMMEDIATE")
            result = work(self._tx)
            self._patiently("COMMIT")
        except BaseException:
            self._rollback()
            raise
        if self._checkpoints is not None:
            self._checkpoints.after_commit(self._cursor)
        return result

    def attempt(self, tx: Tx, work: Callable[[Tx], T]) -> T:
        """Run `work` under a savepoint."""
        execute = self._cursor.execute
        execute("SAVEPOINT unit")
        try:
            result = work(tx)
            execute("RELEASE unit")
        except BaseException as error:
            if not self._connection.in_transaction:  # a full or broken disk
                raise TransactionLost from error
            execute("ROLLBACK TO unit")
            execute("RELEASE unit")
            raise
        return result

    def query(self, query: Callable[[Tx], T]) -> T:
        """Run a query over one snapshot of what is committed."""
        with understanding(self._path):
            self._cursor.execute("BEGIN")
            try:
                return query(self._tx)
            finally:
                self._rollback()

    def close(self) -> None:
        """Close, having copied the log into the database file when nobody else uses it."""
        if self._checkpoints is not None:
            self._checkpoints.close()
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
        self._connection.close()

    def _rollback(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._cursor.execute("ROLLBACK")

    def _patiently(self, sql: str) -> None:
        """Run a statement; while another process holds the file, go on trying."""
        while True:
            try:
                self._cursor.execute(sql)
            except sqlite3.Error as error:
                if not is_busy(error):
                    raise
                _log.warning("database_held_by_another_process", database=self._path.name)
            else:
                return


def path_of(url: str) -> Path:
    """The file that a URL names: `sqlite:///relative.db`, `sqlite:////absolute/path.db`.

    Taken as it stands, with no escapes, so that any path of the machine can be named. Raises
    ConfigError for another database, and for one in memory (it could not be shared or survive).
    """
    name = url.removeprefix(_URL)
    if name == url:
        kind, colon, _ = url.partition(":")
        # Whatever is no URL may hold a password anywhere, so nothing of it is repeated.
        begins = f"begins with {kind!r}" if colon and kind.isidentifier() else "is none"
        raise ConfigError(
            f"the database URL {begins}: use sqlite:////absolute/path/of/a/file.db"
            " or postgresql://user:password@host/name"
        )
    if name in ("", ":memory:"):
        raise ConfigError(
            "the database URL names no file: use sqlite:////absolute/path/of/a/file.db"
        )
    return Path(name).absolute()


def create(path: Path) -> None:
    """Make the folder (0700) and the file (0600) unless they exist.

    Raises ConfigError, saying what to change, when this user may not write there.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise StorageFull(f"no space is left for the database {path}") from error
        raise _unwritable(path, error.strerror or str(error)) from error
    effective = os.access in os.supports_effective_ids
    if not os.access(path.parent, os.W_OK | os.X_OK, effective_ids=effective):
        raise _unwritable(path, f"the folder {path.parent} is read-only for this user")


def _unwritable(path: Path, reason: str) -> ConfigError:
    return ConfigError(
        f"cannot write the database {path}: {reason}."
        " Make its folder writable, or choose another with --home or UNDERSTUDY_HOME"
    )


def connect(path: Path, *, query_only: bool = False) -> sqlite3.Connection:
    """Open a connection in WAL mode with full durability; it may be used from any one thread.

    Raises ConfigError when the file is not a database.
    """
    connection = sqlite3.connect(
        path,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=512,
    )
    try:
        with understanding(path):
            for pragma in (*_PRAGMAS, f"query_only={int(query_only)}"):
                connection.execute(f"PRAGMA {pragma}").close()
    except BaseException:
        connection.close()
        raise
    return connection


def inspect(path: Path) -> sqlite3.Connection:
    """Open a connection that changes nothing, not even the file's mode, whoever wrote it."""
    return sqlite3.connect(
        f"{path.as_uri()}?mode=ro", timeout=BUSY_SECONDS, isolation_level=None, uri=True
    )


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another process holds the file, so that trying again will do."""
    return _primary(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


@contextlib.contextmanager
def understanding(path: Path) -> Iterator[None]:
    """Raise the house's error in place of SQLite's, where there is one."""
    try:
        yield
    except (sqlite3.Error, UnicodeEncodeError) as error:
        told = understood(error, path)
        if told is error:
            raise
        raise told from error


def understood(error: BaseException, path: Path) -> BaseException:
    """The house's error for what SQLite says about the disk; anything else comes back as it is."""
    if isinstance(error, UnicodeEncodeError):
        return InputError(f"the database cannot hold this text: {error}")
    if not isinstance(error, sqlite3.Error):
        return error
    primary = _primary(error)
    if primary == sqlite3.SQLITE_FULL:
        return StorageFull(f"no space is left for the database {path}")
    if primary == sqlite3.SQLITE_NOTADB:
        return ConfigError(f"{path} is not a SQLite database: move it away, or name another")
    if primary in _BROKEN:
        name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
        return StorageError(f"the database {path} could not be used: {error} ({name})")
    return error


_BROKEN = frozenset(
    (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOLFS,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    )
)


def _primary(error: sqlite3.Error) -> int:
    """The primary result code; the driver reports the extended one (its low byte)."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF
