"""A session on PostgreSQL that survives the server's restarts.

Units of work are written once for both databases, and SQLite runs them one after the other. Here
an advisory lock of the transaction gives the same: units that touch only what their caller has
claimed, or new rows, hold it shared and run beside each other in all processes; whatever reaches
further (signals, cancellations, takeovers, limits) holds it alone. There are therefore no deadlocks
to win and no races that SQLite would not have. See docs/decisions/0004-postgresql.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import psycopg
import structlog
from psycopg import errors
from psycopg.pq import TransactionStatus

from understudy.db.driver import TransactionLost
from understudy.db.postgres_server import PlainConnection, Server, said
from understudy.db.tx import Tx
from understudy.errors import StorageError

T = TypeVar("T")

CHANNEL = "understudy"
"""Where a commit that leaves work for others is announced."""

LOCK = 0x756E6465  # "unde"; the next one guards migrations
# Said, because a role's default may be another: then a snapshot would be older than the lock.
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
_XID = "SELECT pg_current_xact_id()::text"
_BEGIN_SHARED = f"{_BEGIN}; SELECT pg_advisory_xact_lock_shared({LOCK}); {_XID}"
_BEGIN_ALONE = f"{_BEGIN}; SELECT pg_advisory_xact_lock({LOCK}); {_XID}"
_BEGIN_UNLOCKED = f"{_BEGIN}; {_XID}"
_BEGIN_QUERY = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_ANNOUNCE = f"SELECT pg_notify('{CHANNEL}', '')"

_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, *[1.0] * 28)
"""Seconds between the tries of what a lost connection or a deadlock undid: 30 in all, in which a
server restarts; then its callers are told."""

_PAUSES_UNLOCKED = _PAUSES[:1]
"""What needs no lock is repeated soon anyway."""

_STALLED = "2s"
"""After this a process that stopped in the middle of a transaction loses it, and with it the lock:
nobody waits longer for a paused process. It runs its units again when it goes on."""

_SETTINGS = (
    # A commit that was told is on the disk; who asks for more than that gets it.
    "SELECT set_config('synchronous_commit', 'on', false) "
    "WHERE current_setting('synchronous_commit') = 'off'; "
    f"SET idle_in_transaction_session_timeout = '{_STALLED}'; "
    # To wait for the lock is not to be slow.
    "SET statement_timeout = 0; SET lock_timeout = 0"
)

_REDONE = (errors.DeadlockDetected, errors.SerializationFailure)

_log = structlog.get_logger(__name__)


class PostgreSQLSession:
    """One connection, opened again when it is lost.

    A commit whose answer was lost is looked up by its transaction's id: units are never run twice.
    """

    def __init__(
        self, server: Server, *, own_clock: bool, read_only: bool = False, unlocked: bool = False
    ) -> None:
        self._server = server
        self._own_clock = own_clock
        self._settings = "" if read_only else _SETTINGS
        self._begins = (_BEGIN_UNLOCKED,) * 2 if unlocked else (_BEGIN_SHARED, _BEGIN_ALONE)
        self._pauses = _PAUSES_UNLOCKED if unlocked else _PAUSES
        self._connection: PlainConnection | None = None
        self._process = 0
        self._cursor: Any = None

    def transact(self, work: Callable[[Tx], T], *, alone: bool) -> T:
        """Run `work` in a transaction that is durable on return."""
        pauses = iter(self._pauses)
        while True:
            try:
                xid, tx = self._begin(alone=alone)
                result = work(tx)
                self._check_sound()
            except BaseException as error:
                if not (self._was_given_up(error) and self._paused(pauses)):
                    raise
            else:
                # Not in the `try`: what is not known to be undone must not be run again.
                if self._commit(tx, xid):
                    return result
                if not self._paused(pauses):
                    raise StorageError(f"{self._server.place} gives up every transaction")

    def attempt(self, tx: Tx, work: Callable[[Tx], T]) -> T:
        """Run `work` under a savepoint."""
        execute = self._cursor.execute
        try:
            execute("SAVEPOINT unit")
            result = work(tx)
            execute("RELEASE unit")  # fails if `work` went on after an error of the database
        except BaseException as error:
            if self._is_lost or isinstance(error, _REDONE):
                raise TransactionLost from error
            execute("ROLLBACK TO unit; RELEASE unit", prepare=False)
            raise
        return result

    def query(self, query: Callable[[Tx], T]) -> T:
        """Run a query over one snapshot of what is committed."""
        pauses = iter(self._pauses)
        while True:
            try:
                cursor = self._connected()
                cursor.execute(_BEGIN_QUERY)
                result = query(self._tx(cursor))
            except BaseException as error:
                if self._was_given_up(error) and self._paused(pauses):
                    continue
                told = self._server.understood(error)
                if told is error:
                    raise
                raise told from error
            self._rollback()
            return result

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._server.own_sessions.discard(self._process)
            self._connection = None

    def _begin(self, *, alone: bool) -> tuple[str, Tx]:
        """The new transaction's id, and what units see of it."""
        cursor = self._connected()
        cursor.execute(self._begins[alone], prepare=False)
        while cursor.nextset():
            pass  # the id is in the last of the answers
        (xid,) = cursor.fetchone()
        return xid, self._tx(cursor)

    def _tx(self, cursor: Any) -> Tx:
        return Tx(cursor, "postgresql", own_clock=self._own_clock)

    def _check_sound(self) -> None:
        """Refuse to commit what the server would undo without an error.

        That is how a unit ends that caught an error of the database and went on.
        """
        assert self._connection is not None
        if self._connection.info.transaction_status == TransactionStatus.INERROR:
            raise TransactionLost from errors.InFailedSqlTransaction(
                "a unit went on after an error of the database"
            )

    def _commit(self, tx: Tx, xid: str) -> bool:
        """Whether the transaction was committed, or is undone. StorageError when nobody knows."""
        commit = f"{_ANNOUNCE}; COMMIT" if tx.announced else "COMMIT"
        try:
            self._cursor.execute(commit, prepare=False)
        except BaseException as error:
            if self._is_lost:
                return self._was_committed(xid)
            self._rollback()
            if isinstance(error, _REDONE):
                return False
            raise
        return True

    def _was_committed(self, xid: str) -> bool:
        """What became of a transaction whose commit was not answered."""
        _log.warning("database_commit_unanswered", database=self._server.place)
        self.close()
        pauses = iter(self._pauses)
        status = "in progress"  # for as long as its server process has not noticed
        while status == "in progress":
            try:
                with self._server.open() as connection:
                    row = connection.execute("SELECT pg_xact_status($1::xid8)", (xid,)).fetchone()
                status = row[0] if row else ""
            except psycopg.Error as error:
                _log.warning("database_cannot_be_asked", error=said(error))
            if status == "in progress" and not self._paused(pauses):
                raise StorageError(
                    f"{self._server.place} was lost during a commit, which may have happened"
                )
        return status == "committed"

    def _connected(self) -> Any:
        if self._connection is None:
            connection = self._server.open()
            try:
                if self._settings:
                    connection.execute(self._settings, prepare=False)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
            self._cursor = connection.cursor()
            self._process = connection.info.backend_pid
            self._server.own_sessions.add(self._process)
        return self._cursor

    @property
    def _is_lost(self) -> bool:
        """Whether the connection is gone, and the transaction with it unless it was committing."""
        return self._connection is None or self._connection.closed

    def _was_given_up(self, error: BaseException) -> bool:
        """Undo the transaction; whether it failed for the database's own reasons."""
        self._rollback()
        if self._is_lost:
            _log.warning("database_connection_lost", database=self._server.place)
            self.close()
            return True
        return isinstance(error, _REDONE)

    def _paused(self, pauses: Iterator[float]) -> bool:
        """Wait before another try; False when there have been enough."""
        seconds = next(pauses, None)
        if seconds is not None:
            # In the session's own thread: nothing can be read or written meanwhile anyway.
            self._server.pause(seconds)
        return seconds is not None

    def _rollback(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._cursor.execute("ROLLBACK", prepare=False)
