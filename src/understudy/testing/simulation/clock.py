"""Time in a history: what passes, and what the clock on the wall says, which may be set."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Coroutine
from typing import Any

_START = 1_800_000_000.0 + 3_000.0


class WorldClock:
    """Moves only when told. Setting it wakes nobody: who sleeps counts the seconds that pass."""

    def __init__(self) -> None:
        self.passed = 0.0
        self._ahead = _START
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> float:
        """Seconds since 1970, as the clock says."""
        return self._ahead + self.passed

    def sleep(self, seconds: float) -> Coroutine[Any, Any, None]:
        """Return when `seconds` have passed since this call."""
        return self._until(self.passed + seconds)

    def set(self, seconds: float) -> None:
        """Put the clock forward, or back."""
        self._ahead += seconds

    def next(self) -> float | None:
        """When the next sleeper wakes, in seconds passed."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def move(self, passed: float) -> None:
        """Let time pass up to there, and wake whoever is due."""
        self.passed = max(self.passed, passed)
        while self._sleepers and self._sleepers[0][0] <= self.passed:
            woken = heapq.heappop(self._sleepers)[2]
            if not woken.done():
                woken.set_result(None)

    async def _until(self, due: float) -> None:
        if due <= self.passed:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (due, next(self._order), woken))
        await woken
