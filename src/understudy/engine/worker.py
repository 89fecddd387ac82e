"""The runs that this process drives now."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

import structlog

from understudy.engine.advance import advance
from understudy.engine.drive import Drive, Kit
from understudy.engine.interrupts import ReleaseInterrupt, SupersededInterrupt
from understudy.engine.run import Claimed, Run
from understudy.errors import StorageError
from understudy.telemetry.about import About, about

_log = structlog.get_logger(__name__)


class Worker:
    """Drives claimed runs side by side, passes wakes to them, and drains.

    `capacity` is how many runs are in memory at once; `on_idle` is called with each that leaves.
    """

    def __init__(self, kit: Kit, *, capacity: int, on_idle: Callable[[Run], None]) -> None:
        self._kit = kit
        self._capacity = capacity
        self._on_idle = on_idle
        self._drives: dict[str, Drive] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.failure: asyncio.Future[StorageError] = asyncio.get_running_loop().create_future()

    @property
    def free(self) -> int:
        """How many more runs there is room for."""
        return self._capacity - len(self._drives)

    @property
    def driving(self) -> tuple[str, ...]:
        """The ids of the runs in memory."""
        return tuple(self._drives)

    def start(self, claimed: Claimed) -> None:
        """Drive a claimed run until it leaves memory."""
        drive = Drive(claimed, self._kit)
        self._drives[claimed.run.id] = drive
        self._spawn(self._drive(drive))

    def poke(self, run_ids: Iterable[str]) -> bool:
        """Wake those of the runs that are driven here; whether there were others.

        A run that is leaving memory is one of the others: it is looked for among the due.
        """
        others = False
        for run_id in run_ids:
            drive = self._drives.get(run_id)
            if drive is None or drive.leaving:
                others = True
            else:
                self._spawn(self._guard(drive.poke))
        return others

    async def drain(self, seconds: float) -> None:
        """Let running bodies finish for that long, then end them; every run is handed back."""
        for drive in tuple(self._drives.values()):
            drive.drain()
        if self._tasks:
            await self._wait_for_tasks(seconds)
        for drive in tuple(self._drives.values()):
            drive.stop(ReleaseInterrupt())
        while self._tasks:
            await asyncio.wait(self._tasks)

    def abandon(self) -> None:
        """End every drive without a word to the journal: the runs are somebody else's."""
        for drive in tuple(self._drives.values()):
            drive.stop(SupersededInterrupt())

    async def kill(self) -> None:
        """End everything as a crash would: nothing more is written, runs stay claimed."""
        self.abandon()
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

    async def _wait_for_tasks(self, seconds: float) -> None:
        alarm = asyncio.ensure_future(self._kit.clock.sleep(seconds))
        done = asyncio.ensure_future(asyncio.wait(tuple(self._tasks)))
        await asyncio.wait({alarm, done}, return_when=asyncio.FIRST_COMPLETED)
        for waiter in (alarm, done):
            waiter.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await waiter

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drive(self, drive: Drive) -> None:
        try:
            with about(_facts(drive.run)):
                await self._guard(partial(advance, drive))
        finally:
            if self._drives.get(drive.run.id) is drive:
                del self._drives[drive.run.id]
            self._on_idle(drive.run)

    async def _guard(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """A journal that cannot be written stops the worker, and says why."""
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody else would hear of it
            self.give_up(error)

    def give_up(self, error: Exception) -> None:
        """The journal cannot be used; the first error is the worker's `failure`."""
        _log.error("journal_unusable", exc_info=error)
        if not isinstance(error, StorageError):
            error = StorageError(f"the journal failed: {type(error).__name__}: {error}")
        if not self.failure.done():
            self.failure.set_result(error)


def _facts(run: Run) -> About:
    """What stands in every log line of a run, and what may stand in none."""
    facts = {
        "run": run.id,
        "operation": run.operation,
        "tenant": run.tenant,
        "plan": run.plan,
        "attempt": run.attempt,
    }
    return About(facts, run.input, run.user)
