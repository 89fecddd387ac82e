"""`/v1/queue`: what is unfinished, by operation, and how many workers there are."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter

from understudy.clock import iso
from understudy.engine.run import QueueRow
from understudy.web.auth import Reader
from understudy.web.context import TheApp
from understudy.wire import QueueList, QueueView

router = APIRouter(prefix="/v1/queue", tags=["queue"])


@router.get("")
async def show(app: TheApp, who: Reader) -> QueueList:
    """Look at the queue of your runs. A run's own place is in its `waiting_for`."""
    now = app.clock.now()
    alive = [worker for worker in await app.engine.workers() if worker.lease_until > now]
    rows = await app.engine.queues(who.tenant)
    return QueueList(items=by_operation(rows), workers=len(alive))


def by_operation(rows: Iterable[QueueRow]) -> list[QueueView]:
    """The rows summed over concurrency keys, by name."""
    sums: dict[str, list[QueueRow]] = {}
    for row in rows:
        sums.setdefault(row.operation, []).append(row)
    return [_summed(name, sums[name]) for name in sorted(sums)]


def _summed(operation: str, rows: list[QueueRow]) -> QueueView:
    oldest = min((row.oldest_due for row in rows if row.oldest_due is not None), default=None)
    return QueueView(
        operation=operation,
        due=sum(row.due for row in rows),
        held=sum(row.held for row in rows),
        running=sum(row.running for row in rows),
        parked=sum(row.parked for row in rows),
        oldest_due=None if oldest is None else iso(oldest),
    )
