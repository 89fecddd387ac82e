"""The database, as everything above this floor sees it: units of work in, queries beside them."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self, TypeVar

from sqlalchemy import text

from understudy.db import sqlite
from understudy.db.migrate import migrate
from understudy.db.statement import Statement
from understudy.db.tx import Row, Tx
from understudy.db.writer import Writer, WriterStats
from understudy.errors import StorageError

__all__ = ["Database", "Row", "Statement", "Tx", "WriterStats"]

T = TypeVar("T")

_READERS = 4
_DATA_VERSION = Statement(text("PRAGMA data_version"))


class Database:
    """One database file: a writer thread, a few reader threads, each with its own connection.

    `async with await Database.open(url) as database:` closes it at the end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer = Writer(sqlite.connect(path), path)
        self._readers = _Readers(path)
        self._seen: int | None = None

    @classmethod
    async def open(cls, url: str) -> Self:
        """Open what `url` names, creating and migrating it as needed.

        Raises SchemaTooNew when a newer release wrote it, and ConfigError (with what to change)
        when it cannot be written or is no database of ours.
        """
        path = sqlite.path_of(url)
        return await asyncio.to_thread(cls._open, path)

    @classmethod
    def _open(cls, path: Path) -> Self:
        sqlite.create(path)
        migrate(path)
        return cls(path)

    @property
    def writer_stats(self) -> WriterStats:
        """Counters of the group commit."""
        return self._writer.stats

    def write(self, unit: Callable[[Tx], T]) -> asyncio.Future[T]:
        """Run `unit` in the writer's next transaction; await its result, which is then durable.

        What the unit raises is raised here, with nothing of the unit kept; StorageFull or
        StorageError when the disk refuses. Cancelling the caller does not take the unit back. The
        unit runs in the writer's thread and must not block: everybody waits for it.
        """
        return self._writer.submit(unit)

    def post(self, unit: Callable[[Tx], object]) -> None:
        """The same with nobody waiting; a failure is logged and never raised."""
        self._writer.post(unit)

    async def read(self, query: Callable[[Tx], T]) -> T:
        """Run `query` on a reader thread, over one snapshot of what is committed.

        It never waits for the writer. It may not write: SQLite refuses.
        """
        return await self._readers.run(query)

    async def changed(self) -> bool:
        """Whether another process (or connection) has committed since the last call.

        The first call only begins to look, and says False. Our own units do not count: the
        question is asked on the writer's connection.
        """
        version: int = await self.write(lambda tx: tx.scalar(_DATA_VERSION))
        changed = self._seen is not None and version != self._seen
        self._seen = version
        return changed

    async def close(self) -> None:
        """Finish what is queued, then close. May be called twice."""
        self._writer.stop()
        await asyncio.to_thread(self._readers.close)
        await asyncio.to_thread(self._writer.join)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Readers:
    """Threads with a connection each, opened when first needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._closed = False
        self._own = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._threads = ThreadPoolExecutor(_READERS, thread_name_prefix="understudy-reader")

    async def run(self, query: Callable[[Tx], T]) -> T:
        if self._closed:
            raise StorageError("the database is closed")
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._query, query)

    def _query(self, query: Callable[[Tx], T]) -> T:
        cursor = self._cursor()
        with sqlite.understanding(self._path):
            cursor.execute("BEGIN")
            try:
                return query(Tx(cursor, "sqlite"))
            finally:
                cursor.execute("ROLLBACK")

    def _cursor(self) -> sqlite3.Cursor:
        with contextlib.suppress(AttributeError):
            cursor: sqlite3.Cursor = self._own.cursor
            return cursor
        connection = sqlite.connect(self._path, query_only=True)
        self._all.append(connection)
        self._own.cursor = connection.cursor()
        return self._cursor()

    def close(self) -> None:
        self._closed = True
        self._threads.shutdown(wait=True)
        while self._all:
            self._all.pop().close()
