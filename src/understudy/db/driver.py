"""The contract of a database driver: what the writer and the readers need of a database."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol, TypeVar

from understudy.db.tx import Tx

if TYPE_CHECKING:
    from sqlalchemy import Connection

T = TypeVar("T")


class Session(Protocol):
    """One connection, used by one thread at a time."""

    def transact(self, work: Callable[[Tx], T], *, alone: bool) -> T:
        """Run `work` in a transaction that is durable on return; nothing of it stays on an error.

        With `alone`, no other process's transaction of this kind runs meanwhile; without, others
        of the same kind may. `work` may be run again if the database gave up the transaction for
        reasons of its own, so it changes nothing but the database. Raises what `work` raises, and
        `TransactionLost` when an error of the database that `work` caught has undone it.
        """
        ...

    def attempt(self, tx: Tx, work: Callable[[Tx], T]) -> T:
        """Inside a transaction: run `work` so that its error undoes its own changes alone.

        Raises what `work` raises, or `TransactionLost` when the database gave up the whole, to be
        let through to `transact`.
        """
        ...

    def query(self, query: Callable[[Tx], T]) -> T:
        """Run a query over one snapshot of what is committed; it may not write.

        Raises the house's errors, as `Driver.understood` knows them. It may be run again.
        """
        ...

    def close(self) -> None:
        """Close the connection; its last transaction was committed or is undone."""
        ...


class Driver(Protocol):
    """How to reach one database. `place` names it in messages, without a password.

    `shared` says whether several processes may drive its runs.
    """

    dialect: str
    place: str
    shared: bool

    def create(self) -> None:
        """Make the database present and writable. Blocks.

        Raises ConfigError, which says what to change.
        """
        ...

    def revision(self) -> str | None:
        """The schema that it has, None when it is absent or empty; changes nothing. Blocks.

        Raises ConfigError when it holds something else than our tables.
        """
        ...

    def migrating(self) -> AbstractContextManager[Connection]:
        """One transaction, and nobody else migrates meanwhile; for Alembic. Blocks."""
        ...

    def connect(self, *, read_only: bool = False, unlocked: bool = False) -> Session:
        """Open a session. Blocks. Raises ConfigError.

        The transactions of an `unlocked` one run beside all others, and so heed only their rows.
        """
        ...

    def understood(self, error: BaseException) -> BaseException:
        """The house's error for what the database says about disk, connection or unfit text.

        Anything else comes back as it is.
        """
        ...


class TransactionLost(Exception):
    """The database gave up the whole transaction; the cause says why."""
