"""Several processes on one database, in one process: each with a view of its own.

    one, two = peers([database, database])

What one of them leaves the others hear at once, as PostgreSQL's notifications would have it; no
thread renews a lease, so that time is the test's alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

from understudy.db.database import Bulk, Database, Tx
from understudy.engine.journal import Journal
from understudy.engine.journals import accepting, recording
from understudy.engine.journals.database import DatabaseJournal


def peers(databases: Sequence[Database]) -> list[Journal]:
    """A journal for each process; the databases are the same one, or connections to one."""
    views = [View(database) for database in databases]
    for view in views:
        view.others = [other for other in views if other is not view]
    return [DatabaseJournal(cast("Database", view)) for view in views]


class View:
    """The database as one of several processes sees it."""

    shared = True

    def __init__(self, database: Database) -> None:
        self._database = database
        self.others: Sequence[View] = ()
        self.told = False
        self.tell: Callable[[], None] = _nobody
        self.read = database.read
        self.post_row = database.post_row

    def write(self, unit: Callable[[Tx], Any], *, alone: bool = True) -> asyncio.Future[Any]:
        """As the database does; what the unit announces, the others hear."""
        announced = False

        def noticed(tx: Tx) -> Any:
            nonlocal announced
            before, tx.announced = tx.announced, False
            try:
                return unit(tx)
            finally:
                announced = tx.announced
                tx.announced = before or announced

        future = self._database.write(noticed, alone=alone)
        future.add_done_callback(lambda _: self.announce() if announced else None)
        return future

    def write_row(self, bulk: Bulk[Any], row: Any) -> asyncio.Future[Any]:
        """The same: only new runs are announced."""
        future = self._database.write_row(bulk, row)
        if bulk in {recording.SUBMIT, accepting.ACCEPT}:
            future.add_done_callback(lambda _: self.announce())
        return future

    def repeat(self, *_: object) -> None:
        """No thread: it would follow the machine's time."""

    async def changed(self) -> bool:
        """Whether another process has left work since the last call."""
        told, self.told = self.told, False
        return told

    def on_change(self, tell: Callable[[], None]) -> None:
        """Have `tell` called when another process leaves work."""
        self.tell = tell

    def announce(self) -> None:
        """Tell the others that there is work for them."""
        for other in self.others:
            other.hear()

    def hear(self) -> None:
        """Another process has left work."""
        self.told = True
        self.tell()


def _nobody() -> None:
    """Nobody listens yet."""
