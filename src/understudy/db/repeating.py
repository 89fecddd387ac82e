"""A unit of work repeated by a thread of its own, which no other write can hold up."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import structlog

from understudy.db.driver import Driver
from understudy.db.tx import Tx

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class Repeated(Generic[T]):
    """Runs `unit` each `every` seconds on its own session, and `tell`s the loop what it answers.

    A failure is logged and tried again at the next time.
    """

    def __init__(
        self, driver: Driver, unit: Callable[[Tx], T], every: float, tell: Callable[[T], None]
    ) -> None:
        self._driver = driver
        self._unit = unit
        self._every = every
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="understudy-lease", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Repeat it no more. Blocks."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        with contextlib.closing(self._driver.connect(unlocked=True)) as session:
            while not self._ended.wait(self._every):
                try:
                    answer = session.transact(self._unit, alone=False)
                except Exception as error:  # noqa: BLE001 - the next time may succeed
                    _log.warning("lease_not_renewed", error=str(error))
                    continue
                try:
                    self._loop.call_soon_threadsafe(self._tell, answer)
                except RuntimeError:  # the loop has closed: nobody works any more
                    return
