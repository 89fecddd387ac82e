"""Renewing a lease in the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from understudy.db.database import Database, Tx
from understudy.engine.journals import upkeep
from understudy.engine.journals.rows import as_json


class Beats:
    """Renews one worker's lease. Where several processes work, by a thread of its own."""

    def __init__(self, database: Database, worker: str, lease: float, every: float) -> None:
        self._database = database
        self._worker = worker
        self._lease = lease
        self.info: Mapping[str, Any] = {}
        self.now: Callable[[], float] = _never
        self.tell: Callable[[bool, bool, float], None] = _nobody
        self._repeated = database.repeat(self._unit, every, self._told)
        self.threaded = self._repeated is not None

    async def once(self) -> None:
        """Renew the lease now."""
        self._told(await self._database.write(self._unit, alone=False))

    async def close(self) -> None:
        """Renew it no more."""
        if self._repeated is not None:
            await asyncio.to_thread(self._repeated.close)

    def _told(self, answer: tuple[bool, bool, float]) -> None:
        self.tell(*answer)

    def _unit(self, tx: Tx) -> tuple[bool, bool, float]:
        begun = self.now()
        now = tx.now(begun)
        # What the worker says of itself is not there yet at the very first beat.
        said = {"name": self._worker, "info": as_json(self.info) if self.info else None}
        held = tx.execute(upkeep.BEAT, {**said, "lease_until": now + self._lease}) > 0
        lapsed = any(until <= now for (until,) in tx.rows(upkeep.LEASES))
        return held, lapsed or tx.row(upkeep.ORPHANED) is not None, begun


def _nobody(held: bool, others_lapsed: bool, begun: float) -> None:
    """Nobody listens yet."""


def _never() -> float:
    """Nobody has said what the time is."""
    return 0.0
