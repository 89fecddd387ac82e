"""Erasure: what was done for one person is deleted, with a report."""

from __future__ import annotations

import hashlib
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from understudy.artifacts.artifacts import Artifacts
from understudy.artifacts.erasing import erase_files
from understudy.engine.context import Context
from understudy.engine.engine import Engine
from understudy.engine.erasing import Erased, Erasing
from understudy.engine.operation import operation
from understudy.errors import Conflict, NotFound

_NAME = "erase-user"
_BATCHES = 50
"""Batches in one step: a step is remembered, and itself deleted one day."""

_RUNS = 200
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 60.0


class EraseUser(BaseModel):
    """Whom to erase: the tenant's own id of its customer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: Annotated[str, Field(min_length=1, max_length=500, examples=["customer-7"])]


class Stopped(BaseModel):
    """How many runs were told to stop, and how many have not stopped yet."""

    canceled: int
    left: int


class Removed(BaseModel):
    """What one step has deleted; see `ErasureReport`."""

    runs: int = 0
    steps: int = 0
    signals: int = 0
    shared_signals: int = 0
    requests: int = 0
    artifacts: int = 0
    bytes: int = 0

    def __bool__(self) -> bool:
        return bool(self.runs or self.artifacts)

    def __add__(self, other: Removed) -> Removed:
        mine = self.model_dump()
        return Removed(**{name: mine[name] + more for name, more in other.model_dump().items()})


class ErasureReport(Removed):
    """What was deleted for good.

    `subject` stands for the person: whoever knows the id and this run's can compute it, as
    `erasure.pseudonym` does. `canceled` runs had not ended; `bytes` are those of files that nobody
    else of the tenant had. A signal is `shared` if runs of others have used it: it stays until its
    time is over. After a crash the counts may be too low, never too high.
    """

    subject: str
    canceled: int = 0


class Eraser:
    """Erases for one tenant, whose door to files is `files`. Each batch is a short write."""

    def __init__(self, engine: Engine, erasing: Erasing, files: Artifacts) -> None:
        self._engine = engine
        self._erasing = erasing
        self._files = files

    async def cancel(self, user: str) -> Stopped:
        """Tell the user's open runs to stop."""
        tenant = self._files.tenant
        canceled = 0
        for run_id in await self._erasing.open_runs(tenant, user, spared=_NAME):
            try:
                before = await self._engine.get(run_id, tenant)
                if before.cancel_requested_at is None and not before.done:
                    await self._engine.cancel(run_id, tenant)
                    canceled += 1
            except (Conflict, NotFound):  # it has ended by itself meanwhile
                continue
        left = await self._erasing.open_runs(tenant, user, spared=_NAME)
        return Stopped(canceled=canceled, left=len(left))

    async def files(self, user: str) -> Removed:
        """Delete a number of batches of the user's files; nothing when none is left."""
        count = size = 0
        for _ in range(_BATCHES):
            erased = await erase_files(self._files, user)
            count, size = count + erased.files, size + erased.bytes
            if not erased.files:
                break
        return Removed(artifacts=count, bytes=size)

    async def runs(self, user: str) -> Removed:
        """Delete a number of batches of the user's ended runs; nothing when none is left."""
        tenant = self._files.tenant
        total = Erased()
        for _ in range(_BATCHES):
            batch = await self._erasing.erase(tenant, user, spared=_NAME, limit=_RUNS)
            total = Erased(*(sum(pair) for pair in zip(total, batch, strict=True)))
            if not batch.runs:
                break
        return Removed(
            runs=total.runs,
            steps=total.steps,
            signals=total.signals,
            shared_signals=total.shared,
            requests=total.requests,
        )

    async def mask(self, run_id: str, subject: str) -> None:
        """Forget in the erasing run itself whom it was about."""
        await self._erasing.mask(run_id, EraseUser(user=subject).model_dump_json())


def pseudonym(run_id: str, user: str) -> str:
    """What stands for a user in the report of the run that erased them, and nowhere else."""
    return f"erased-{hashlib.sha256(f'{run_id}/{user}'.encode()).hexdigest()[:32]}"


@operation(_NAME, examples={"a customer": EraseUser(user="customer-7")})
async def erase_user(ctx: Context, input: EraseUser, *, eraser: Eraser) -> ErasureReport:  # noqa: A002
    """Delete everything that was done for one user: runs, steps, files, signals; reports counts.

    Open runs are canceled first. What is submitted for the user meanwhile goes, too.
    """
    removed, canceled = Removed(), 0
    while True:
        canceled += await _stop(ctx, input.user, eraser)
        files = await ctx.step("files", eraser.files, input.user)
        runs = await ctx.step("runs", eraser.runs, input.user)
        if not files and not runs:
            break
        removed += files + runs
        ctx.progress(removed.runs, removed.runs, "runs erased")
    subject = await ctx.step("subject", _subject, ctx.run_id, input.user)
    await ctx.step("mask", eraser.mask, ctx.run_id, subject)
    return ErasureReport(subject=subject, canceled=canceled, **removed.model_dump())


async def _subject(run_id: str, user: str) -> str:
    return pseudonym(run_id, user)


async def _stop(ctx: Context, user: str, eraser: Eraser) -> int:
    """Cancel what is open and wait until it has stopped; how many were told to."""
    told, pause = 0, _FIRST_PAUSE
    while True:
        stopped = await ctx.step("cancel", eraser.cancel, user)
        told += stopped.canceled
        if not stopped.left:
            return told
        await ctx.sleep(pause)
        pause = min(_LONGEST_PAUSE, pause * 2)
