"""Noticing what other processes do: by looking (SQLite), by being told (PostgreSQL)."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog

from understudy.db.driver import Driver
from understudy.db.statement import sql
from understudy.db.tx import Tx

if TYPE_CHECKING:
    from understudy.db.postgres import PostgreSQL

_DATA_VERSION = sql("PRAGMA data_version")
_BACKUP = 4
"""Every so many questions the answer is yes, in case that a word from another process was lost."""

_LISTEN_AGAIN = 1.0

_log = structlog.get_logger(__name__)


def _nobody() -> None:
    """Nobody wants to be told."""


class Changes:
    """Nobody else writes."""

    def __init__(self) -> None:
        self.tell: Callable[[], None] = _nobody

    def start(self) -> None:
        """Begin to listen; call on the loop that is to be told."""

    async def changed(self) -> bool:
        """Whether another process may have written since the last call."""
        return False

    def close(self) -> None:
        """Stop listening. Blocks."""


class DataVersion(Changes):
    """SQLite counts the commits of other connections."""

    def __init__(self, writer: Any) -> None:
        super().__init__()
        self._writer = writer
        self._seen: int | None = None

    async def changed(self) -> bool:
        """Whether the count has changed, seen from the writer's own connection."""
        version: int = await self._writer.submit(_data_version, detail=False)
        changed = self._seen is not None and version != self._seen
        self._seen = version
        return changed


class Notifications(Changes):
    """PostgreSQL tells: a thread with a connection of its own listens.

    Whenever it begins to listen, everything may have changed.
    """

    def __init__(self, driver: PostgreSQL) -> None:
        super().__init__()
        self._driver = driver
        self._told = False
        self._asked = 0
        self._ended = threading.Event()
        self._wake = -1
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to listen."""
        ended, self._wake = os.pipe()
        self._thread = threading.Thread(
            target=self._listen,
            args=(asyncio.get_running_loop(), ended),
            name="understudy-listener",
            daemon=True,
        )
        self._thread.start()

    async def changed(self) -> bool:
        """Whether something was told since the last call; sometimes yes without a word."""
        self._asked += 1
        changed = self._told or self._asked % _BACKUP == 0
        self._told = False
        return changed

    def close(self) -> None:
        """Stop listening."""
        if self._thread is not None and not self._ended.is_set():
            self._ended.set()
            os.close(self._wake)  # makes the other end readable
        if self._thread is not None:
            self._thread.join()

    def _listen(self, loop: asyncio.AbstractEventLoop, ended: int) -> None:
        silent = False
        try:
            while not self._ended.is_set():
                try:
                    with self._driver.listening(ended) as news:
                        silent = False
                        self._tell(loop)
                        while not self._ended.is_set():
                            if news():
                                self._tell(loop)
                except Exception as error:  # noqa: BLE001 - whatever it is, the poll goes on
                    if not silent:
                        _log.warning("database_listener_lost", error=str(error))
                    silent = True
                    self._ended.wait(_LISTEN_AGAIN)
        finally:
            os.close(ended)

    def _tell(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.call_soon_threadsafe(self._hear)
        except RuntimeError:  # the loop has closed: nobody listens any more
            self._ended.set()

    def _hear(self) -> None:
        self._told = True
        self.tell()


def changes_of(driver: Driver, writer: Any) -> Changes:
    """What notices the changes of a database."""
    if driver.dialect == "sqlite":
        return DataVersion(writer)
    from understudy.db.postgres import PostgreSQL  # noqa: PLC0415 - loaded already

    assert isinstance(driver, PostgreSQL)
    return Notifications(driver)


def _data_version(tx: Tx) -> Any:
    return tx.scalar(_DATA_VERSION)
