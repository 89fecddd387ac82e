"""Group commit: one thread, one transaction for whatever has queued up, one wait for the disk.

A unit of work is a function of a transaction. The writer takes all units that are waiting, runs
each under its own savepoint, commits once and only then answers every caller: a thousand callers
share one fsync. A unit that fails is rolled back alone and its caller alone hears of it; when the
commit fails, nobody's unit happened and every caller of the batch hears that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from understudy.db import sqlite
from understudy.db.tx import Tx
from understudy.errors import StorageError

Unit = Callable[[Tx], Any]

_BATCH = 2_000
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class WriterStats:
    """What the writer has done since it started."""

    commits: int = 0
    units: int = 0
    failures: int = 0
    last_batch: int = 0
    max_batch: int = 0
    commit_seconds: float = 0.0


# Plain tuples: making named ones costs a tenth of the writer's whole rate.
_Future = asyncio.Future[Any]
_Entry = tuple[Unit, _Future | None]
_Outcome = tuple[_Future | None, Any, BaseException | None]


class Writer:
    """The thread that owns the only writing connection of this process."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.stats = WriterStats()
        self._connection = connection
        self._path = path
        self._cursor = connection.cursor()
        self._tx = Tx(self._cursor, "sqlite")
        self._waiting: deque[_Entry | None] = deque()
        self._wakes: SimpleQueue[None] = SimpleQueue()
        self._waking = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="understudy-writer", daemon=True)
        self._thread.start()

    def submit(self, unit: Unit) -> _Future:
        """Queue a unit; the future resolves on the running loop when the unit is durable.

        Cancelling the future does not take the unit back.
        """
        self._check_open()
        loop = asyncio.get_running_loop()
        future: _Future = loop.create_future()
        self._waiting.append((unit, future))
        self._wake_soon(loop)
        return future

    def post(self, unit: Unit) -> None:
        """Queue a unit that nobody waits for; its failure is logged."""
        self._check_open()
        self._waiting.append((unit, None))
        self._wake_soon(asyncio.get_running_loop())

    def stop(self) -> None:
        """Take nothing more. Call it where units are submitted, so that none slips in after."""
        if not self._closed:
            self._closed = True
            self._waiting.append(None)
            self._wakes.put(None)

    def join(self) -> None:
        """After `stop`: finish what is queued, end the thread, close the connection. Blocks."""
        self._thread.join()
        sqlite.close(self._connection)

    def _check_open(self) -> None:
        if self._closed:
            raise StorageError("the database is closed")

    def _wake_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wake the thread once the loop has run everybody who is about to submit as well.

        Waking it for the first would have it fight over the interpreter lock with the others, and
        give it batches of a few units.
        """
        if not self._waking:
            self._waking = True
            loop.call_soon(self._wake, loop, 0)

    def _wake(self, loop: asyncio.AbstractEventLoop, seen: int) -> None:
        present = len(self._waiting)
        if seen < present < _BATCH:
            loop.call_soon(self._wake, loop, present)
        else:
            self._waking = False
            self._wakes.put(None)

    def _run(self) -> None:
        ended = False
        while not ended:
            self._wakes.get()
            # What comes from now on brings a wake of its own.
            present = len(self._waiting)
            while present and not ended:
                taken = [self._waiting.popleft() for _ in range(min(present, _BATCH))]
                present -= len(taken)
                batch = [entry for entry in taken if entry is not None]
                ended = len(batch) < len(taken)
                if batch:
                    self._settle(self._commit(batch))

    def _commit(self, batch: list[_Entry]) -> list[_Outcome]:
        """Run a batch in one transaction; what each caller is to be told."""
        try:
            self._patiently("BEGIN IMMEDIATE")
            outcomes = [self._attempt(unit, future) for unit, future in batch]
            started = time.perf_counter()
            self._patiently("COMMIT")
        except BaseException as error:  # noqa: BLE001 - told to everyone; the thread must live on
            return self._abandon(batch, error)
        stats = self.stats
        stats.commit_seconds += time.perf_counter() - started
        stats.commits += 1
        stats.units += len(batch)
        stats.last_batch = len(batch)
        stats.max_batch = max(stats.max_batch, len(batch))
        return outcomes

    def _attempt(self, unit: Unit, future: _Future | None) -> _Outcome:
        execute = self._cursor.execute
        execute("SAVEPOINT unit")
        try:
            result = unit(self._tx)
        except BaseException as error:
            if not self._connection.in_transaction:
                raise  # SQLite gave up the whole transaction: a full or broken disk
            execute("ROLLBACK TO unit")
            execute("RELEASE unit")
            self.stats.failures += 1
            return future, None, self._tellable(error)
        execute("RELEASE unit")
        return future, result, None

    def _abandon(self, batch: list[_Entry], error: BaseException) -> list[_Outcome]:
        with contextlib.suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._cursor.execute("ROLLBACK")
        self.stats.failures += len(batch)
        return [(future, None, self._lost(error)) for _, future in batch]

    def _lost(self, error: BaseException) -> BaseException:
        """An error for one caller of a lost batch: each its own, for each is raised elsewhere."""
        told = self._tellable(error)
        if told is error:
            told = StorageError(f"the database {self._path} could not be written: {error}")
            told.__cause__ = error
        return told

    def _tellable(self, error: BaseException) -> BaseException:
        if isinstance(error, StopIteration):  # a future cannot carry it
            told: BaseException = RuntimeError("a unit of work raised StopIteration")
        elif isinstance(error, sqlite3.Error):
            told = sqlite.understood(error, self._path)
        else:
            return error
        if told is not error:
            told.__cause__ = error
        return told

    def _patiently(self, sql: str) -> None:
        """Run a statement; while another process holds the file, go on trying."""
        while True:
            try:
                self._cursor.execute(sql)
            except sqlite3.Error as error:
                if not sqlite.is_busy(error):
                    raise
                _log.warning("another process has held %s for long; still waiting", self._path)
            else:
                return

    def _settle(self, outcomes: list[_Outcome]) -> None:
        """Wake each loop once with all that concerns it."""
        by_loop: defaultdict[asyncio.AbstractEventLoop, list[_Outcome]] = defaultdict(list)
        for outcome in outcomes:
            future, _, error = outcome
            if future is not None:
                by_loop[future.get_loop()].append(outcome)
            elif error is not None:
                _log.error("a posted write failed", exc_info=error)
        for loop, concerned in by_loop.items():
            with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
                loop.call_soon_threadsafe(_tell, concerned)


def _tell(outcomes: list[_Outcome]) -> None:
    for future, result, error in outcomes:
        if future is None or future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
