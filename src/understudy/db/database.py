"""The database, as everything above this floor sees it: units of work in, queries beside them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, Self, TypeVar

from understudy.db.changes import Changes, changes_of
from understudy.db.driver import Driver, Session
from understudy.db.drivers import driver_of
from understudy.db.memory import InlineReaders, InlineWriter
from understudy.db.migrate import migrate
from understudy.db.repeating import Repeated
from understudy.db.statement import RowsStatement, Statement, sql
from understudy.db.tx import Row, Tx
from understudy.db.writer import Bulk, Writer, WriterStats
from understudy.errors import StorageError

__all__ = [
    "Bulk",
    "Database",
    "Row",
    "RowsStatement",
    "Statement",
    "Tx",
    "WriterStats",
    "sql",
]

R = TypeVar("R")
T = TypeVar("T")

_READERS = 4


class Database:
    """One database: a writer thread, a few reader threads, each with its own connection.

    `async with await Database.open(url) as database:` closes it at the end. `shared` says whether
    other processes may drive its runs, too.
    """

    def __init__(self, driver: Driver | None, writer: _Writes, readers: _Reads) -> None:
        self.driver = driver
        self._writer = writer
        self._readers = readers
        self._changes = Changes() if driver is None else changes_of(driver, writer)

    @classmethod
    async def open(cls, url: str) -> Self:
        """Open what `url` names, creating a file and migrating the schema as needed.

        Raises SchemaTooNew when a newer release wrote it, and ConfigError (with what to change)
        when it cannot be written or is no database of ours.
        """
        return await cls.of(driver_of(url))

    @classmethod
    async def of(cls, driver: Driver) -> Self:
        """The same for a driver that was made before."""
        opening = asyncio.ensure_future(asyncio.to_thread(cls._of, driver))
        try:
            database = await asyncio.shield(opening)
        except asyncio.CancelledError:  # its threads and connections are there all the same
            await (await opening).close()
            raise
        database._changes.start()  # noqa: SLF001 - it calls back on this loop
        return database

    @classmethod
    def _of(cls, driver: Driver) -> Self:
        try:
            driver.create()
            migrate(driver)
            return cls(driver, Writer(driver), _Readers(driver))
        except Exception as error:
            told = driver.understood(error)
            if told is error:
                raise
            raise told from error

    @classmethod
    def in_memory(cls) -> Self:
        """An empty database that lives as long as this value, for tests and simulations.

        It is SQLite without a file and without threads: a unit is done before `write` returns.
        """
        writer = InlineWriter()
        return cls(None, writer, InlineReaders(writer))

    @property
    def shared(self) -> bool:
        """Whether several processes may drive the runs of this database."""
        return self.driver is not None and self.driver.shared

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return "memory" if self.driver is None else self.driver.place

    @property
    def writer_stats(self) -> WriterStats:
        """Counters of the group commit."""
        return self._writer.stats

    def write(self, unit: Callable[[Tx], T], *, alone: bool = True) -> asyncio.Future[T]:
        """Run `unit` in the writer's next transaction; await its result, which is then durable.

        What the unit raises is raised here, with nothing of the unit kept; StorageFull or
        StorageError when the disk refuses. Cancelling the caller does not take the unit back. The
        unit runs in the writer's thread and must not block: everybody waits for it. It may be run
        again when its transaction was lost, so it changes nothing but the database.

        A unit that touches only what its caller has claimed, or new rows, need not be `alone`:
        such units of several processes run side by side.
        """
        return self._writer.submit(unit, alone)

    def write_row(self, bulk: Bulk[R], row: R) -> asyncio.Future[None]:
        """The same for work that is done for many callers in one statement."""
        return self._writer.submit(bulk, row)

    def post(self, unit: Callable[[Tx], object], *, alone: bool = True) -> None:
        """The same with nobody waiting; a failure is logged and never raised."""
        self._writer.post(unit, alone)

    def post_row(self, bulk: Bulk[R], row: R) -> None:
        """A row of a bulk with nobody waiting."""
        self._writer.post(bulk, row)

    async def read(self, query: Callable[[Tx], T]) -> T:
        """Run `query` on a reader thread, over one snapshot of what is committed.

        It never waits for the writer. It may not write: the database refuses.
        """
        return await self._readers.run(query)

    async def changed(self) -> bool:
        """Whether another process (or connection) may have left work since the last call.

        Our own units do not count. It may be said too often, and is never left unsaid for long.
        """
        return await self._changes.changed()

    def on_change(self, tell: Callable[[], None]) -> None:
        """Have `tell` called on the loop as soon as another process leaves work, where that is
        possible; ask `changed` all the same, in case that a word was lost.
        """
        self._changes.tell = tell

    def repeat(
        self, unit: Callable[[Tx], T], every: float, tell: Callable[[T], None]
    ) -> Repeated[T] | None:
        """Run a unit each `every` seconds by a thread that waits for no other write.

        None where only one process works, which needs none.
        """
        if self.driver is None or not self.shared:
            return None
        return Repeated(self.driver, unit, every, tell)

    async def close(self) -> None:
        """Finish what is queued, then close. May be called twice."""
        self._writer.stop()
        await asyncio.to_thread(self._changes.close)
        await asyncio.to_thread(self._readers.close)
        await asyncio.to_thread(self._writer.join)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Writes(Protocol):
    @property
    def stats(self) -> WriterStats: ...
    def submit(self, unit: Any, detail: Any) -> asyncio.Future[Any]: ...
    def post(self, unit: Any, detail: Any) -> None: ...
    def stop(self) -> None: ...
    def join(self) -> None: ...


class _Reads(Protocol):
    async def run(self, query: Callable[[Tx], T]) -> T: ...
    def close(self) -> None: ...


class _Readers:
    """Threads with a session each, opened when first needed."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._closed = False
        self._own = threading.local()
        self._all: list[Session] = []
        self._threads = ThreadPoolExecutor(_READERS, thread_name_prefix="understudy-reader")

    async def run(self, query: Callable[[Tx], T]) -> T:
        if self._closed:
            raise StorageError("the database is closed")
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._query, query)

    def _query(self, query: Callable[[Tx], T]) -> T:
        session: Session | None = getattr(self._own, "session", None)
        if session is None:
            session = self._own.session = self._driver.connect(read_only=True)
            self._all.append(session)
        return session.query(query)

    def close(self) -> None:
        self._closed = True
        self._threads.shutdown(wait=True)
        while self._all:
            self._all.pop().close()
