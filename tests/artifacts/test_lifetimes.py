"""How long a run's files live."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import bindparam, delete, insert

from understudy.artifacts.artifacts import Artifacts
from understudy.artifacts.stores.disk import Disk
from understudy.clock import ManualClock
from understudy.db.database import Database, Statement, Tx
from understudy.db.schema import runs
from understudy.errors import NotFound
from understudy.testing.conformance.store import NOW


async def test_a_run_keeps_its_files_until_its_end(
    home: Path, store: Disk, clock: ManualClock
) -> None:
    """A file of an unfinished run does not expire, and its time is counted from the run's end."""
    async with await Database.open(f"sqlite:///{home}/understudy.db") as database:
        files = Artifacts(database, store, home / "tmp", clock, run_id="run_1")
        kept = await files.put(b"kept", name="kept", expires_in=60)
        await database.write(partial(insert_run, run_id="run_1", ended_at=None))
        clock.advance(1_000)
        assert (await files.sweep()).expired == 0
        assert (await files.get(kept.id)).id == kept.id
        await database.write(partial(insert_run, run_id="run_1", ended_at=clock.now()))
        clock.advance(59)
        assert (await files.sweep()).expired == 0
        clock.advance(2)
        assert (await files.sweep()).expired == 1
        with pytest.raises(NotFound):
            await files.get(kept.id)


def insert_run(tx: Tx, *, run_id: str, ended_at: float | None) -> None:
    """Write a run's row over whatever is there."""
    row: dict[str, object] = dict.fromkeys(column.name for column in runs.columns)
    row |= {"id": run_id, "root_id": run_id, "tenant": "t", "operation": "x", "version": 1}
    row |= {"input": "{}", "plan": "embedded", "epoch": 1, "attempt": 1, "created_at": NOW}
    row |= {"lane": "", "held": 0, "change": 0}
    row |= {"status": "waiting" if ended_at is None else "canceled", "ended_at": ended_at}
    tx.execute(Statement(delete(runs).where(runs.c.id == bindparam("id"))), row)
    tx.execute(Statement(insert(runs)), row)
