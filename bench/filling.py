"""Fills a database with runs by the million, as rows that the engine would have written itself.

The same SQL for SQLite and PostgreSQL. Ids sort by number, as real ones do by time.
"""

from __future__ import annotations

import asyncio
import time

from bench.databases import POSTGRESQL, Fresh

from understudy.db.database import Database

_NUMBERED = "'run_' || substr('{zeros}' || CAST(i AS text), length(CAST(i AS text)) + 1)".format(
    zeros="0" * 26
)
_SERIES = (
    "WITH RECURSIVE series(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM series WHERE i < {count})"
)
_DAY = 86_400.0


def migrate(fresh: Fresh) -> None:
    """Give it the schema."""

    async def opened() -> None:
        await (await Database.open(fresh.url)).close()

    asyncio.run(opened())


def park(fresh: Fresh, count: int) -> None:
    """So many runs of `nap` asleep until tomorrow, each with its step."""
    now = time.time()
    series = _SERIES.format(count=count)
    until = f"{now + _DAY} + i * 0.01"
    fresh.run(
        "INSERT INTO runs (id, tenant, operation, version, input, status, plan, epoch, attempt, "
        f"wake_at, waiting_for, root_id, created_at, started_at) {series} "
        f"""SELECT {_NUMBERED}, 'default', 'nap', 1, '{{"seconds":86400.0}}', 'waiting', """
        f"""'embedded', 1, 1, {until}, '{{"kind": "timer", "text": "the clock: until """
        f"""2026-01-01T00:00Z", "until": {now + _DAY}}}', {_NUMBERED}, {now}, {now} FROM series"""
    )
    fresh.run(
        "INSERT INTO steps (run_id, key, seq, name, kind, state, attempt, due_at, started_at) "
        f"{series} SELECT {_NUMBERED}, 'sleep', 0, 'sleep', 'sleep', 'waiting', 1, {until}, {now} "
        "FROM series"
    )
    _settle(fresh)


def finish(fresh: Fresh, count: int) -> None:
    """So many runs of `nap` that ended a moment ago, each with its step."""
    now = time.time()
    series = _SERIES.format(count=count)
    fresh.run(
        "INSERT INTO runs (id, tenant, operation, version, input, status, plan, epoch, attempt, "
        f"output, root_id, created_at, started_at, ended_at) {series} "
        f"""SELECT {_NUMBERED}, 'default', 'nap', 1, '{{"seconds":1.0}}', 'succeeded', """
        f"""'embedded', 1, 1, '{{"seconds":1.0}}', {_NUMBERED}, {now}, {now}, {now} FROM series"""
    )
    fresh.run(
        "INSERT INTO steps (run_id, key, seq, name, kind, state, attempt, due_at, result, "
        f"started_at, ended_at) {series} SELECT {_NUMBERED}, 'sleep', 0, 'sleep', 'sleep', "
        f"'succeeded', 1, {now}, 'null', {now}, {now} FROM series"
    )
    _settle(fresh)


def let_wake(fresh: Fresh, count: int, woken: int, times: list[float]) -> None:
    """At each of the times as many parked runs are due, taken from all over the table."""
    stride = count // (woken * len(times))
    for turn, at in enumerate(times):
        chosen = (
            f"WITH RECURSIVE series(i) AS (SELECT {1 + turn * stride} UNION ALL "
            f"SELECT i + {stride * len(times)} FROM series "
            f"WHERE i < {1 + turn * stride + stride * len(times) * (woken - 1)}) "
            f"SELECT {_NUMBERED} FROM series"
        )
        fresh.run(f"UPDATE runs SET wake_at = {at} WHERE id IN ({chosen})")
        fresh.run(f"UPDATE steps SET due_at = {at} WHERE run_id IN ({chosen})")


def _settle(fresh: Fresh) -> None:
    """PostgreSQL counts what a table holds by itself, but some minutes later."""
    if fresh.kind == POSTGRESQL:
        fresh.run("VACUUM ANALYZE")
