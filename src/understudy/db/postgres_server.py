"""A PostgreSQL server as a URL names it: how to connect, and what its errors mean."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from understudy.errors import ConfigError, InputError, StorageError, StorageFull

PlainConnection = psycopg.Connection[tuple[Any, ...]]

_DEFAULTS = {
    "application_name": "understudy",
    "client_encoding": "UTF8",
    "connect_timeout": 10,
    # A server that vanished without a word is noticed within half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""What the URL may say otherwise."""


class Server:
    """One database of one server. `place` names it without a user or a password.

    `pause` blocks for so many seconds between two tries; `own_sessions` are the process ids, on the
    server, of our connections.
    """

    def __init__(self, url: str, pause: Callable[[float], None] = time.sleep) -> None:
        known = _read(url)
        self.pause = pause
        self.own_sessions: set[int] = set()
        self.target = make_conninfo(**{**_DEFAULTS, **known})
        port = f":{known['port']}" if known.get("port") else ""
        host = known.get("host") or known.get("hostaddr") or "localhost"
        self.place = f"postgresql://{host}{port}/{known.get('dbname') or ''}"

    def open(self) -> PlainConnection:
        """A connection in autocommit mode, for SQL with `$1`. Raises psycopg's errors."""
        return psycopg.connect(self.target, autocommit=True, cursor_factory=psycopg.RawCursor)

    def understood(self, error: BaseException) -> BaseException:
        """The house's error for what is about the server, the connection, or what it can hold."""
        if isinstance(error, errors.DiskFull):
            return StorageFull(f"no space is left for the database {self.place}")
        if isinstance(error, errors.InsufficientPrivilege):
            return ConfigError(f"this user lacks a right in {self.place}: {said(error)}")
        if _is_about_text(error):
            return InputError(f"PostgreSQL cannot hold this text: {said(error)}")
        if isinstance(error, _TROUBLE):
            return StorageError(f"the database {self.place} cannot be used: {said(error)}")
        return error


_TROUBLE = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError)


def _is_about_text(error: BaseException) -> bool:
    """Whether it is about a NUL character or half of a surrogate pair."""
    if isinstance(error, psycopg.DataError):
        return error.sqlstate is None or isinstance(error, errors.UntranslatableCharacter)
    return isinstance(error, UnicodeEncodeError)


def said(error: BaseException) -> str:
    """What the server or its library says, in one line. It repeats no password."""
    return " ".join(str(error).split())


def _read(url: str) -> dict[str, Any]:
    """The parts of a URL. Raises ConfigError, which repeats nothing that may be of a password."""
    advice = (
        "use postgresql://user:password@host/name, and write @ : / ? # % in a password"
        " as %40 %3A %2F %3F %23 %25"
    )
    server, _, rest = url.partition("://")[2].partition("/")
    if server.count("@") > 1 or "@" in rest.partition("?")[0]:
        raise ConfigError(f"the database URL has an @ too many: {advice}")
    try:
        known = conninfo_to_dict(url)
    except psycopg.Error as error:
        # Up to where it repeats what it cannot read.
        reason = said(error).partition('"')[0].strip(" :")
        raise ConfigError(f"the database URL cannot be read ({reason}): {advice}") from None
    if not str(known.get("port") or 0).replace(",", "").isdigit():
        raise ConfigError(f"the port in the database URL is no number: {advice}")
    return known
