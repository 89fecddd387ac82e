"""Retention: what is past its time is deleted, a batch after the other, each hour."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from understudy.accounts.tenants import Tenants
from understudy.artifacts.artifacts import Artifacts
from understudy.clock import Clock
from understudy.engine.context import Context
from understudy.engine.cron import Cron
from understudy.engine.flow import Concurrency
from understudy.engine.journal import Journal, Past
from understudy.engine.operation import operation

_DAY = 86_400.0
_BATCHES = 100
"""Batches in one step: a step is remembered, and itself deleted one day."""


class Ages(NamedTuple):
    """How many days ended runs are kept, and those that failed."""

    days: float
    failed_days: float


class Keeper:
    """Deletes what is past. Each batch is a short write of its own: nobody waits for long."""

    def __init__(
        self,
        journal: Journal,
        artifacts: Artifacts,
        clock: Clock,
        ages: Ages,
        tenants: Tenants | None = None,
    ) -> None:
        self._tenants = tenants
        self._journal = journal
        self._artifacts = artifacts
        self._clock = clock
        self._ages = ages

    async def sweep(self) -> int:
        """Delete files past their time; how many references."""
        return (await self._artifacts.sweep()).expired

    async def forget(self) -> int:
        """Delete a number of batches of past runs; how many, 0 when none is left."""
        pasts = self._pasts(self._ages, None)
        own = {} if self._tenants is None else await self._tenants.all()
        for tenant, days in own.items():
            if days.runs is not None or days.failed_runs is not None:
                ages = Ages(
                    self._ages.days if days.runs is None else days.runs,
                    self._ages.failed_days if days.failed_runs is None else days.failed_runs,
                )
                pasts += self._pasts(ages, tenant)
        forgotten = 0
        for _ in range(_BATCHES):
            batch = sum([await self._journal.forget(past) for past in pasts])
            forgotten += batch
            if not batch:
                break
        return forgotten

    def _pasts(self, ages: Ages, tenant: str | None) -> list[Past]:
        """What is past for a tenant that has set its own ages, or for all that have not."""
        now = self._clock.now()
        failed = now - ages.failed_days * _DAY
        other = now - ages.days * _DAY
        states = (("succeeded", other), ("canceled", other), ("failed", failed))
        pasts = [Past(before, status, tenant=tenant) for status, before in states]
        # What serves any run goes with the longest kept ones.
        return [*pasts, Past(min(failed, other), tenant=tenant)]


class Nothing(BaseModel):
    """No input."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Forgotten(BaseModel):
    """How many expired files, and how many runs and signals, were deleted."""

    files: int
    rows: int


@operation(
    "retention",
    cron=Cron("17 * * * *"),
    concurrency=Concurrency(total=1),
    examples={"now": Nothing()},
)
async def retention(ctx: Context, input: Nothing, *, keeper: Keeper) -> Forgotten:  # noqa: A002, ARG001
    """Delete expired files, and runs that ended long ago."""
    files = await ctx.step("sweep", keeper.sweep)
    rows = 0
    while batch := await ctx.step("forget", keeper.forget):
        rows += batch
        ctx.progress(rows, rows, "rows deleted")
    return Forgotten(files=files, rows=rows)
