"""Group commit: one thread, one transaction for whatever has queued up, one wait for the disk.

A unit of work is a function of a transaction. The writer takes all units that are waiting, runs
them, commits once and only then answers every caller: a thousand callers share one fsync. When a
unit fails, the batch is begun again with each unit under a savepoint of its own, so that it is
undone alone and its caller alone hears of it. When the commit fails, nobody's unit happened and
every caller of the batch hears that.

What comes by the thousand goes as rows of a `Bulk`: one statement then does the work of many
callers, and the interpreter lock is free meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from understudy.db.driver import Driver, TransactionLost
from understudy.db.tx import Tx
from understudy.errors import StorageError

Unit = Callable[[Tx], Any]
R = TypeVar("R")

_BATCH = 2_000
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Bulk(Generic[R]):
    """Work on rows that many callers bring, done for all of them at once.

    `run` raises when a row is refused, whichever it is: each row is then run alone, so that only
    its own caller hears of it. A row concerns only what its caller has claimed, or is new, so that
    rows of all processes may be worked on side by side. Of one transaction's bulks, that of the
    lowest `rank` runs first.
    """

    rank: int
    run: Callable[[Tx, Sequence[R]], None]


@dataclass(slots=True)
class WriterStats:
    """What the writer has done since it started. `queued` units wait now."""

    commits: int = 0
    units: int = 0
    failures: int = 0
    last_batch: int = 0
    max_batch: int = 0
    commit_seconds: float = 0.0
    queued: int = 0


# Plain tuples: making named ones costs a tenth of the writer's whole rate. The middle is the row of
# a bulk, or whether a unit needs the database for itself.
_Future = asyncio.Future[Any]
_Entry = tuple["Unit | Bulk[Any]", Any, "_Future | None"]
_Outcome = tuple["_Future | None", Any, "BaseException | None"]


class Writer:
    """The thread that owns the only writing session of this process."""

    def __init__(self, driver: Driver) -> None:
        self._stats = WriterStats()
        self._driver = driver
        self._session = driver.connect()
        self._waiting: deque[_Entry | None] = deque()
        self._wakes: SimpleQueue[None] = SimpleQueue()
        self._waking: asyncio.AbstractEventLoop | None = None
        self._loops: dict[int, asyncio.AbstractEventLoop] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="understudy-writer", daemon=True)
        self._thread.start()

    @property
    def stats(self) -> WriterStats:
        """Counters since the start."""
        self._stats.queued = len(self._waiting)
        return self._stats

    def submit(self, unit: Unit | Bulk[Any], detail: Any) -> _Future:
        """Queue a unit; the future resolves on the running loop when the unit is durable.

        `detail` is the row of a bulk; for a plain unit, whether nobody else may write meanwhile.
        Cancelling the future does not take the unit back.
        """
        if self._closed:
            raise _closed()
        loop = self._running_loop()
        future: _Future = loop.create_future()
        self._waiting.append((unit, detail, future))
        self._wake_soon(loop)
        return future

    def post(self, unit: Unit | Bulk[Any], detail: Any) -> None:
        """Queue a unit that nobody waits for; its failure is logged."""
        if self._closed:
            raise _closed()
        self._waiting.append((unit, detail, None))
        self._wake_soon(self._running_loop())

    def stop(self) -> None:
        """Take nothing more. Call it where units are submitted, so that none slips in after."""
        if not self._closed:
            self._closed = True
            self._waiting.append(None)
            self._wakes.put(None)

    def join(self) -> None:
        """After `stop`: finish what is queued, end the thread, close the session. Blocks."""
        self._thread.join()
        self._session.close()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        """This thread's loop. Remembered: Python 3.11 asks the system for the process's id each
        time, which was a tenth of the cost of a step.
        """
        thread = threading.get_ident()
        loop = self._loops.get(thread)
        if loop is None or not loop.is_running():
            loop = self._loops[thread] = asyncio.get_running_loop()
        return loop

    def _wake_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wake the thread once the loop has run everybody who is about to submit as well.

        Waking it for the first would have it fight over the interpreter lock with the others, and
        give it batches of a few units.
        """
        waking = self._waking
        if waking is None or waking.is_closed():  # one that closed too early woke nobody
            self._waking = loop
            loop.call_soon(self._wake, loop, len(self._waiting))

    def _wake(self, loop: asyncio.AbstractEventLoop, seen: int) -> None:
        present = len(self._waiting)
        if seen < present < _BATCH:
            loop.call_soon(self._wake, loop, present)
        else:
            self._waking = None
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
        alone = any(not isinstance(unit, Bulk) and detail for unit, detail, _ in batch)
        stats = self._stats
        started = time.perf_counter()
        try:
            outcomes = self._in_one_transaction(batch, alone=alone)
        except BaseException as error:  # noqa: BLE001 - told to everyone; the thread must live on
            stats.failures += len(batch)
            return [(future, None, self._lost(error)) for _, _, future in batch]
        stats.commit_seconds += time.perf_counter() - started
        stats.commits += 1
        stats.units += len(batch)
        stats.last_batch = len(batch)
        stats.max_batch = max(stats.max_batch, len(batch))
        return outcomes

    def _in_one_transaction(self, batch: list[_Entry], *, alone: bool) -> list[_Outcome]:
        transact = self._session.transact
        try:
            return transact(lambda tx: _together(tx, batch), alone=alone)
        except (_UnitFailed, TransactionLost) as failed:
            if len(batch) == 1:
                self._stats.failures += 1
                return [(batch[0][2], None, self._tellable(failed.__cause__ or failed))]
        return transact(lambda tx: self._one_by_one(tx, batch), alone=alone)

    def _one_by_one(self, tx: Tx, batch: list[_Entry]) -> list[_Outcome]:
        outcomes: list[_Outcome] = []
        for unit, detail, future in batch:
            try:
                outcomes.append((future, self._session.attempt(tx, by_itself(unit, detail)), None))
            except TransactionLost as lost:
                raise lost.__cause__ or lost from None
            except BaseException as error:  # noqa: BLE001 - told to its caller
                self._stats.failures += 1
                outcomes.append((future, None, self._tellable(error)))
        return outcomes

    def _lost(self, error: BaseException) -> BaseException:
        """An error for one caller of a lost batch: each its own, for each is raised elsewhere."""
        told = self._tellable(error)
        if told is error:
            place = self._driver.place
            told = StorageError(f"the database {place} could not be written: {error}")
            told.__cause__ = error
        return told

    def _tellable(self, error: BaseException) -> BaseException:
        if isinstance(error, StopIteration):  # a future cannot carry it
            told: BaseException = RuntimeError("a unit of work raised StopIteration")
        else:
            told = self._driver.understood(error)
        if told is not error:
            told.__cause__ = error
        return told

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


class _UnitFailed(Exception):
    """A unit raised the cause of this; the batch is to be run again, unit by unit."""


def _together(tx: Tx, batch: list[_Entry]) -> list[_Outcome]:
    """Run all units with no savepoints: bulks first, each at once for all of its rows."""
    bulks: defaultdict[Bulk[Any], list[tuple[Any, _Future | None]]] = defaultdict(list)
    plain: list[tuple[Unit, _Future | None]] = []
    for unit, detail, future in batch:
        if isinstance(unit, Bulk):
            bulks[unit].append((detail, future))
        else:
            plain.append((unit, future))
    outcomes: list[_Outcome] = []
    try:
        for bulk, entries in sorted(bulks.items(), key=_rank):
            bulk.run(tx, [row for row, _ in entries])
            outcomes += [(future, None, None) for _, future in entries]
        outcomes += [(future, unit(tx), None) for unit, future in plain]
    except BaseException as error:
        raise _UnitFailed from error
    return outcomes


def _closed() -> StorageError:
    return StorageError("the database is closed")


def _rank(item: tuple[Bulk[Any], Any]) -> int:
    return item[0].rank


def by_itself(unit: Unit | Bulk[Any], detail: Any) -> Unit:
    """The work on one row of a bulk as a plain unit; a plain unit as it is."""
    return partial(_only, unit, detail) if isinstance(unit, Bulk) else unit


def _only(bulk: Bulk[Any], row: Any, tx: Tx) -> None:
    bulk.run(tx, [row])


def _tell(outcomes: list[_Outcome]) -> None:
    for future, result, error in outcomes:
        if future is None or future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
