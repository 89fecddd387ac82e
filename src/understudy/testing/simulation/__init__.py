"""A random world around a journal and its workers: what may go wrong does, in a repeatable order.

    history = await simulate(seed, Database.in_memory())
    assert history.violations == []

Runs of random programs are submitted, signalled, canceled, tried again and forked, by several
workers that share one database. Workers crash, are stopped and continued, drain and lose their
leases; the journal's answers are late or refused, words between processes are lost, and the clock
is set. What was broken of the engine's promises is in `violations`; `met` counts how often each
thing that happened met each fault. Over a database in memory one seed is one history; with one
that has threads these add a little of their own.
"""

from __future__ import annotations

from understudy.db.database import Database
from understudy.testing.simulation.tally import ACTIONS, FAULTS, Tally
from understudy.testing.simulation.world import History, World

__all__ = ["ACTIONS", "FAULTS", "History", "Tally", "simulate"]


async def simulate(seed: int, database: Database) -> History:
    """One history over a database, which is emptied first."""
    return await World(seed, database).history()
