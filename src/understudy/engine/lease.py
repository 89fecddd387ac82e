"""A worker's one lease: as long as it is renewed, nobody takes the worker's runs.

Time is the database's. Where several processes share it, a thread with a connection of its own
renews the lease, so that neither a busy event loop nor a long transaction lets it lapse. A process
that was stopped for too long finds its lease gone: its runs are somebody else's then, their claims
no longer hold, and it begins again under a new name. Until it has looked, it begins no step: that
may have been done elsewhere meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from understudy import ids
from understudy.clock import Clock
from understudy.engine.journal import Beats, Journal
from understudy.errors import StorageError

_BEATS = 3
"""Renewals in the time of one lease."""

_log = structlog.get_logger(__name__)


class Lease:
    """`lost` is called when the lease was found gone, `lapsed` when another worker's has run out.

    `info` says of the worker what the list of workers shows. `seconds` is the lease's length.
    `gone` is true from the loss of a lease until the next one is held.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        seconds: float,
        info: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._seconds = seconds
        self._info = info
        self._started = 0.0
        self._beats: Beats | None = None
        self._task: asyncio.Task[None] | None = None
        self._sure_until = 0.0
        self._beaten = asyncio.Event()
        self.gone = False
        self.name = ""
        self.lost: Callable[[], None] = _nothing
        self.lapsed: Callable[[], None] = _nothing

    async def begin(self) -> None:
        """Take a lease under a new name."""
        self._started = self._clock.now()
        name = ids.ordered("worker", self._started)
        await self._journal.enlist(name, lease=self._seconds, info=self._said())
        self.name = name  # only now: what is claimed under a name without a lease is not driven
        self._beats = self._journal.beats(self.name, lease=self._seconds, every=self._every)
        self._beats.now = self._clock.now
        self._beats.tell = self._hear
        self._sure_until = self._started + self._seconds
        self.gone = False
        self._beaten.set()
        self._task = asyncio.create_task(self._keep(self._beats))

    async def end(self) -> None:
        """Give the lease up."""
        await self.drop()
        await self._journal.leave(self.name)

    async def drop(self) -> None:
        """Renew it no more, as after a crash."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._beats is not None:
            self._beats.tell = _nobody  # what is on its way says nothing of the next lease
            await self._beats.close()

    def held(self) -> Awaitable[None] | None:
        """None while the lease is surely held; after too long a silence, await that it is again."""
        return None if self._sure else self._held()

    @property
    def _sure(self) -> bool:
        return not self.gone and self._clock.now() < self._sure_until

    async def _held(self) -> None:
        while not self._sure:
            self._beaten.clear()
            await self._beaten.wait()

    @property
    def _every(self) -> float:
        return self._seconds / _BEATS

    def _said(self) -> dict[str, Any]:
        return {**self._info(), "started_at": self._started}

    async def _keep(self, beats: Beats) -> None:
        while True:
            beats.info = self._said()
            if not beats.threaded:
                try:
                    await beats.once()
                except StorageError as error:
                    _log.warning("lease_not_renewed", error=str(error))
            await self._clock.sleep(self._every)

    def _hear(self, held: bool, others_lapsed: bool, begun: float) -> None:
        if self.gone:
            return
        if not held:
            self.gone = True
            self.lost()
            return
        self._sure_until = begun + self._seconds
        self._beaten.set()
        if others_lapsed:
            self.lapsed()


def _nothing() -> None:
    """Nobody listens yet."""


def _nobody(held: bool, others_lapsed: bool, begun: float) -> None:
    """Nobody listens any more."""
