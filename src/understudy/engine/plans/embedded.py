"""Plan B: runs are driven inside this process, from the journal's own queue."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

import structlog

from understudy.engine.consequences import follows_failure
from understudy.engine.drive import Kit
from understudy.engine.journal import Overdue
from understudy.engine.lease import Lease
from understudy.engine.run import Run, Scope, out_of_time
from understudy.engine.schedules import Schedules
from understudy.engine.worker import Worker
from understudy.errors import StorageError

_LOOK_AGAIN = 60.0
_SHARE_AGAIN = 0.02
"""Seconds between two claims of one worker while others may want their share."""

_log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True)
class Limits:
    """`capacity`: runs in memory at once. Times in seconds.

    `lease`: a worker that is silent for so long loses its runs to the others.
    """

    capacity: int = 1000
    batch: int = 200
    poll_every: float = 0.5
    drain: float = 10.0
    lease: float = 10.0


class Embedded:
    """Claims due runs in batches and drives them; sees other processes' writes by a cheap poll."""

    name = "embedded"

    def __init__(
        self,
        kit: Kit,
        scope: Scope,
        limits: Limits | None = None,
        schedules: Schedules | None = None,
        info: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self._limits = limits or Limits()
        self._scope = scope
        self._schedules = schedules
        self._info = info
        self._nudged = asyncio.Event()
        self._lease = Lease(kit.journal, kit.clock, self._limits.lease, self._said)
        self._announce = kit.woken
        self._kit = dataclasses.replace(kit, woken=self._woken, held=self._lease.held)
        self._worker = Worker(self._kit, capacity=self._limits.capacity, on_idle=self._left)
        self._lease.lost = lambda: self._spawn(self._begin_again())
        self._lease.lapsed = lambda: self._spawn(self._adopt())
        self._loops: list[asyncio.Task[None]] = []
        self._chores: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._full = False

    @property
    def failure(self) -> asyncio.Future[StorageError]:
        """Resolves when the journal could not be written."""
        return self._worker.failure

    @property
    def driving(self) -> tuple[str, ...]:
        """The ids of the runs in memory."""
        return self._worker.driving

    @property
    def worker(self) -> str:
        """The name under which this process drives runs now."""
        return self._lease.name

    async def start(self) -> None:
        """Queue what dead workers left, then claim what is due."""
        journal = self._kit.journal
        await self._lease.begin()
        recovered = await journal.recover(now=self._kit.clock.now())
        if recovered:
            _log.info("runs_recovered", count=len(recovered))
        await journal.unhold()
        await journal.changed()
        journal.on_change(lambda: self._spawn(self._look()))
        self._loops = [
            asyncio.create_task(self._until_failure(loop)) for loop in (self._claim_due, self._poll)
        ]

    def wake(self, run_ids: Iterable[str]) -> None:
        """Wake the runs that are driven here; look for others among the due."""
        if self._worker.poke(run_ids):
            self._nudged.set()

    async def stop(self) -> None:
        """Drain."""
        # What is being claimed now is still taken on, to be handed back like the rest.
        self._stopping = True
        self._nudged.set()
        if self._loops:
            await asyncio.wait({self._loops[0]})
        await self._end_loops()
        await self._worker.drain(self._limits.drain)
        if not self.failure.done():
            await self._lease.end()
        else:
            await self._lease.drop()

    async def kill(self) -> None:
        """Stop as a crash would, for simulations: nothing more is written."""
        await self._end_loops()
        await self._lease.drop()
        await self._worker.kill()

    async def _end_loops(self) -> None:
        self._kit.journal.on_change(_nobody)
        for task in (*self._loops, *self._chores):
            task.cancel()
            await asyncio.wait({task})

    def _said(self) -> dict[str, Any]:
        """What the list of workers shows of this one."""
        return {**self._info(), "capacity": self._limits.capacity, "plan": self.name}

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._until_failure(lambda: work))
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    def _woken(self, run_ids: list[str]) -> None:
        if run_ids:
            self.wake(run_ids)
            self._announce(run_ids)

    def _left(self, run: Run) -> None:
        """A run has left memory: there is room, perhaps also in its lane, and its parent is due."""
        if self._full or run.lane or run.parent_id:
            self._nudged.set()

    async def _adopt(self) -> None:
        """Another worker's lease has run out: its runs are due."""
        if await self._kit.journal.recover(now=self._kit.clock.now()):
            self._nudged.set()

    async def _begin_again(self) -> None:
        """Our own lease was gone: what we drove is somebody else's by now."""
        _log.warning("lease_lost", worker=self._lease.name)
        self._worker.abandon()
        await self._lease.drop()
        await self._lease.begin()
        await self._adopt()  # also what we claimed before we knew
        self._nudged.set()

    async def _until_failure(self, loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await loop()
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody else would hear of it
            self._worker.give_up(error)

    async def _claim_due(self) -> None:
        while not self._stopping:
            self._nudged.clear()
            limit = min(self._limits.batch, self._worker.free)
            self._full = limit == 0
            await self._until_due(None if self._full else await self._claim(limit))

    async def _claim(self, limit: int) -> float | None:
        """Take on what is due; when to come again."""
        journal, clock = self._kit.journal, self._kit.clock
        now = clock.now()
        times = []
        if self._schedules is not None:
            await self._schedules.fire()
            times.append(self._schedules.next_at)
        worker = self.worker
        claims = await journal.claim(worker, self._scope, limit=limit, now=now)
        if self._lease.gone or worker != self.worker:
            return None  # `_begin_again` takes them back, and nudges
        for claimed in claims.runs:
            self._worker.start(claimed)
        if claims.overdue:
            self._woken(await journal.fail_overdue(self._overdue(now), now=now))
            return now
        if len(claims.runs) == limit:
            return now  # more may be due
        times.append(now + _SHARE_AGAIN if claims.more else claims.next_due)
        return min((time for time in times if time is not None), default=None)

    def _overdue(self, now: float) -> Overdue:
        registry = self._kit.registry
        return Overdue(out_of_time, lambda run: follows_failure(registry, run, now=now))

    async def _until_due(self, due: float | None) -> None:
        """Return at the next due time, or when nudged."""
        if due is not None and due <= self._kit.clock.now():
            await asyncio.sleep(0)
            return
        nudge = asyncio.ensure_future(self._nudged.wait())
        ends: set[asyncio.Future[Any]] = {nudge}
        if due is not None:
            # Never for long at once: the machine's clock may be set while we sleep.
            sleep = self._kit.clock.sleep(min(_LOOK_AGAIN, due - self._kit.clock.now()))
            ends.add(asyncio.ensure_future(sleep))
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()

    async def _poll(self) -> None:
        """See what other processes submitted, signalled or canceled."""
        while True:
            await self._kit.clock.sleep(self._limits.poll_every)
            if await self._kit.journal.changed():
                await self._look()

    async def _look(self) -> None:
        now = self._kit.clock.now()
        self._worker.poke(await self._kit.journal.poked(self.worker, now=now))
        self._nudged.set()


def _nobody() -> None:
    """The plan has stopped and wants to hear nothing."""
