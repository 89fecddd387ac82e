"""How far a run is, as it is shown: at most two writes a second, and the last word always."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from understudy.clock import Clock

_EVERY = 0.5


class Progress:
    """The progress of one driven run; `write` stores it."""

    def __init__(self, write: Callable[[dict[str, Any]], None], clock: Clock) -> None:
        self._write = write
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._written_at = 0.0
        self._unwritten: dict[str, Any] | None = None
        self._later: asyncio.Task[None] | None = None
        self._closed = False

    def show(self, said: dict[str, Any]) -> None:
        """Write it now or soon. From any thread; after `close` nothing is shown."""
        if threading.get_ident() == self._thread:
            self._show(said)
        else:
            self._loop.call_soon_threadsafe(self._show, said)

    def close(self) -> None:
        """Write what has not been written yet."""
        self._closed = True
        if self._later is not None:
            self._later.cancel()
        self._write_now()

    def _show(self, said: dict[str, Any]) -> None:
        if self._closed:
            return
        self._unwritten = said
        rests = self._written_at + _EVERY - self._clock.now()
        if rests <= 0:
            self._write_now()
        elif self._later is None or self._later.done():
            self._later = self._loop.create_task(self._write_after(rests))

    async def _write_after(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._write_now()

    def _write_now(self) -> None:
        if self._unwritten is not None:
            self._written_at = self._clock.now()
            self._write(self._unwritten)
            self._unwritten = None
