"""Copying SQLite's write-ahead log into the database file, beside the writer instead of inside it.

SQLite itself does it in the commit that makes the log too long: all who wait for that commit then
also wait for pages from all over the file. Here a thread copies once a second what has come
meanwhile. Under load a little always comes while it copies, and the log begins anew only when
nothing is left; so once the log is long, the writer copies that little rest itself.
https://www.sqlite.org/wal.html#ckpt
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading

import structlog

EVERY = 1.0
"""Seconds."""

LONG = 4_000
"""Pages (16 MB): so long a log is worth a writer's moment."""

_COPY = "PRAGMA wal_checkpoint(PASSIVE)"

_log = structlog.get_logger(__name__)


class Checkpoints:
    """Copies the log of one database through a connection of its own, until closed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._written = False
        self._rest = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="understudy-log", daemon=True)
        self._thread.start()

    def after_commit(self, writer: sqlite3.Cursor) -> None:
        """Called by the writer after each commit, which no error of a copy can undo."""
        self._written = True
        if self._rest:
            self._rest = False
            with contextlib.suppress(sqlite3.Error):
                writer.execute(_COPY).fetchone()

    def copy(self) -> None:
        """Copy what has been written since the last time; nobody waits for it meanwhile."""
        self._written = False
        try:
            _, pages, _ = self._connection.execute(_COPY).fetchone()
        except sqlite3.Error as error:
            _log.warning("log_not_copied", error=str(error))
            return
        self._rest = pages > LONG

    def close(self) -> None:
        """Copy no more. Blocks."""
        self._closed.set()
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while not self._closed.wait(EVERY):
            if self._written:
                self.copy()
