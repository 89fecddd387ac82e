"""Plan B: runs are driven inside this process, from the journal's own queue."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import structlog

from understudy.engine.drive import Kit
from understudy.engine.run import Scope
from understudy.engine.worker import Worker
from understudy.errors import StorageError

_LOOK_AGAIN = 60.0

_log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True)
class Limits:
    """`capacity`: runs in memory at once. Times in seconds."""

    capacity: int = 1000
    batch: int = 200
    poll_every: float = 0.5
    drain: float = 10.0


class Embedded:
    """Claims due runs in batches and drives them; sees other processes' writes by a cheap poll."""

    name = "embedded"

    def __init__(self, kit: Kit, scope: Scope, worker: str, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._kit = dataclasses.replace(kit, woken=self._woken)
        self._announce = kit.woken
        self._scope = scope
        self._name = worker
        self._nudged = asyncio.Event()
        self._worker = Worker(
            self._kit, capacity=self._limits.capacity, on_idle=self._nudge_when_full
        )
        self._claimer: asyncio.Task[None] | None = None
        self._poller: asyncio.Task[None] | None = None
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

    async def start(self) -> None:
        """Queue what a dead worker left, then claim what is due."""
        recovered = await self._kit.journal.recover(now=self._kit.clock.now())
        if recovered:
            _log.info("runs_recovered", count=recovered)
        await self._kit.journal.changed()
        self._claimer = asyncio.create_task(self._until_failure(self._claim_due))
        self._poller = asyncio.create_task(self._until_failure(self._poll))

    def wake(self, run_ids: Iterable[str]) -> None:
        """Wake the runs that are driven here; look for others among the due."""
        if self._worker.poke(run_ids):
            self._nudged.set()

    async def stop(self) -> None:
        """Drain."""
        # What is being claimed now is still taken on, to be handed back like the rest.
        self._stopping = True
        self._nudged.set()
        if self._claimer is not None:
            await asyncio.wait({self._claimer})
        await self._end_loops()
        await self._worker.drain(self._limits.drain)

    async def kill(self) -> None:
        """Stop as a crash would, for simulations: nothing more is written."""
        await self._end_loops()
        await self._worker.kill()

    async def _end_loops(self) -> None:
        for loop in (self._claimer, self._poller):
            if loop is not None:
                loop.cancel()
                await asyncio.wait({loop})

    def _woken(self, run_ids: list[str]) -> None:
        if run_ids:
            self.wake(run_ids)
            self._announce(run_ids)

    def _nudge_when_full(self) -> None:
        if self._full:
            self._nudged.set()

    async def _until_failure(self, loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await loop()
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody else would hear of it
            self._worker.give_up(error)

    async def _claim_due(self) -> None:
        journal, clock = self._kit.journal, self._kit.clock
        while not self._stopping:
            self._nudged.clear()
            limit = min(self._limits.batch, self._worker.free)
            self._full = limit == 0
            if self._full:
                await self._until_due(None)
                continue
            claims = await journal.claim(self._name, self._scope, limit=limit, now=clock.now())
            for claimed in claims.runs:
                self._worker.start(claimed)
            # A full batch means that more may be due.
            if len(claims.runs) < limit:
                await self._until_due(claims.next_due)

    async def _until_due(self, due: float | None) -> None:
        """Return at the next due time, or when nudged."""
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
                now = self._kit.clock.now()
                self._worker.poke(await self._kit.journal.poked(self._name, now=now))
                self._nudged.set()
