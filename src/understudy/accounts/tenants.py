"""What a tenant has set for itself: how long its runs and files are kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from understudy.clock import Clock
from understudy.db.database import Database, sql
from understudy.errors import InputError

_DAY = 86_400.0
_FRESH = 30.0
"""Seconds after which what another process has set is seen here."""

_COLUMNS = "result_days, input_days, run_days, failed_run_days"
_GET = sql(f"SELECT {_COLUMNS} FROM tenants WHERE id = :tenant")  # noqa: S608 - our own names
_ALL = sql(f"SELECT id, {_COLUMNS} FROM tenants ORDER BY id")  # noqa: S608 - the same
_SET = sql(f"""
    INSERT INTO tenants (id, {_COLUMNS})
    VALUES (:tenant, :results, :inputs, :runs, :failed_runs)
    ON CONFLICT (id) DO UPDATE SET result_days = excluded.result_days,
        input_days = excluded.input_days, run_days = excluded.run_days,
        failed_run_days = excluded.failed_run_days
""")  # noqa: S608 - the same


class Days(NamedTuple):
    """For how many days something is kept; None is the installation's default.

    `results` and `inputs` are files and count from the end of their run; `runs` and `failed_runs`
    are what the journal remembers, from the end.
    """

    results: float | None = None
    inputs: float | None = None
    runs: float | None = None
    failed_runs: float | None = None


class Tenants:
    """The tenants of one database. Files keep the time that was set when they were stored."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[str, tuple[float, Days]] = {}

    async def get(self, tenant: str) -> Days:
        """What the tenant has set."""
        row = await self._database.read(lambda tx: tx.row(_GET, {"tenant": tenant}))
        days = Days() if row is None else Days(*row)
        self._known[tenant] = (self._clock.now(), days)
        return days

    async def set(self, tenant: str, days: Days) -> None:
        """Keep things that long from now on. Raises `InputError` for what is no time."""
        for what, many in days._asdict().items():
            if many is not None and not (many > 0 and math.isfinite(many)):
                raise InputError(f"{what} are kept for more than 0 days, not {many}")
        said = {"tenant": tenant, **days._asdict()}
        await self._database.write(lambda tx: tx.execute(_SET, said))
        self._known.pop(tenant, None)

    async def all(self) -> Mapping[str, Days]:
        """What each tenant has set that has set anything, by id."""
        rows = await self._database.read(lambda tx: tx.rows(_ALL))
        return {tenant: Days(*days) for tenant, *days in rows}

    async def lifetime(self, tenant: str, *, result: bool) -> float | None:
        """Seconds for which the tenant's files are kept; None is the installation's default."""
        seen = self._known.get(tenant)
        now = self._clock.now()
        fresh = seen is not None and 0 <= now - seen[0] < _FRESH
        days = seen[1] if seen is not None and fresh else await self.get(tenant)
        many = days.results if result else days.inputs
        return None if many is None else many * _DAY
