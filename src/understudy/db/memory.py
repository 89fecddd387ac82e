"""SQLite without a file and without threads: for tests, and for simulations that can be repeated.

Everything runs where it is called, so that one seed gives one history.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from understudy.db.sqlite import SQLiteSession, understanding
from understudy.db.tx import Tx
from understudy.db.writer import WriterStats, by_itself
from understudy.errors import StorageError

T = TypeVar("T")

_PLACE = Path(":memory:")
_log = logging.getLogger(__name__)


class InlineWriter:
    """The writer's interface; each unit is a transaction of its own, run at once."""

    def __init__(self) -> None:
        self.stats = WriterStats()
        self.connection = sqlite3.connect(
            ":memory:",
            isolation_level=None,
            check_same_thread=False,  # a database is closed by another one
            cached_statements=512,
        )
        self.connection.deserialize(_empty())
        self.connection.execute("PRAGMA foreign_keys=ON")
        self.session = SQLiteSession(self.connection, _PLACE)
        self.closed = False

    def submit(self, unit: Any, detail: Any) -> asyncio.Future[Any]:
        """A future that is already resolved."""
        self.check_open()
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        try:
            future.set_result(self._run(unit, detail))
        except StopIteration:  # a future cannot carry it
            future.set_exception(RuntimeError("a unit of work raised StopIteration"))
        except BaseException as error:  # noqa: BLE001 - told to the caller
            future.set_exception(error)
        return future

    def post(self, unit: Any, detail: Any) -> None:
        """Run a unit that nobody waits for; its failure is logged."""
        self.check_open()
        try:
            self._run(unit, detail)
        except BaseException:  # noqa: BLE001 - a posted unit never raises
            _log.exception("a posted write failed")

    def stop(self) -> None:
        """Take nothing more."""
        self.closed = True

    def join(self) -> None:
        """Let the data go."""
        self.session.close()

    def check_open(self) -> None:
        """Raises StorageError after `stop`."""
        if self.closed:
            raise StorageError("the database is closed")

    def _run(self, unit: Any, detail: Any) -> Any:
        work = by_itself(unit, detail)
        try:
            with understanding(_PLACE):
                result = self.session.transact(work, alone=True)
        except BaseException:
            self.stats.failures += 1
            raise
        self.stats.commits += 1
        self.stats.units += 1
        return result


class InlineReaders:
    """The readers' interface over the same connection."""

    def __init__(self, writer: InlineWriter) -> None:
        self._writer = writer

    async def run(self, query: Callable[[Tx], T]) -> T:
        """Run a query at once; it may not write."""
        self._writer.check_open()
        execute = self._writer.connection.execute
        execute("PRAGMA query_only=ON")
        try:
            return self._writer.session.query(query)
        finally:
            execute("PRAGMA query_only=OFF")

    def close(self) -> None:
        """There is nothing to close."""


@functools.cache
def _empty() -> bytes:
    """The image of a database with our tables and no rows: making them takes too long each time."""
    from sqlalchemy import create_engine, pool  # noqa: PLC0415 - for tests only

    from understudy.db.schema import metadata  # noqa: PLC0415

    connection = sqlite3.connect(":memory:")
    engine = create_engine("sqlite://", creator=lambda: connection, poolclass=pool.StaticPool)
    metadata.create_all(engine)
    image = connection.serialize()
    engine.dispose()
    connection.close()
    return image
