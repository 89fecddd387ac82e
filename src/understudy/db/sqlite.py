"""What is particular to SQLite: opening a file well, and what its errors mean.

WAL lets readers go on while the writer writes; `synchronous=FULL` makes a commit durable before it
returns. Transactions are begun and ended by us (`isolation_level=None`), never by the driver.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from understudy.errors import ConfigError, StorageError, StorageFull

BUSY_SECONDS = 30.0
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "temp_store=MEMORY",
    "cache_size=-65536",  # 64 MiB: a batch of 2,000 units touches more pages than 2 MB hold
    "wal_autocheckpoint=4000",  # 16 MB: with 4, a busy writer copies the same pages over and over
    f"journal_size_limit={64 * 1024 * 1024}",
)
_URL = "sqlite:///"


def path_of(url: str) -> Path:
    """The file that a URL names: `sqlite:///relative.db`, `sqlite:////absolute/path.db`.

    Taken as it stands, with no escapes, so that any path of the machine can be named. Raises
    ConfigError for another database, and for one in memory (it could not be shared or survive).
    """
    name = url.removeprefix(_URL)
    if name == url:
        kind = url.partition(":")[0]
        raise ConfigError(
            f"the database URL begins with {kind!r}, but this release works on SQLite only"
            " (PostgreSQL comes with the next): use sqlite:////absolute/path/of/a/file.db"
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
    except sqlite3.Error as error:
        told = understood(error, path)
        if told is error:
            raise
        raise told from error


def understood(error: sqlite3.Error, path: Path) -> Exception:
    """The house's error for what SQLite says about the disk; anything else comes back as it is."""
    primary = _primary(error)
    if primary == sqlite3.SQLITE_FULL:
        return StorageFull(f"no space is left for the database {path}")
    if primary == sqlite3.SQLITE_NOTADB:
        return ConfigError(f"{path} is not a SQLite database: move it away, or name another")
    if primary in _BROKEN:
        name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
        return StorageError(f"the database {path} could not be used: {error} ({name})")
    return error


def close(connection: sqlite3.Connection) -> None:
    """Close, having copied the log into the database file when nobody else uses it."""
    with contextlib.suppress(sqlite3.Error):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
    connection.close()


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
