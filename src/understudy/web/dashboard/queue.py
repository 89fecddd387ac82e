"""The queue: what is due, held, driven and parked, and the workers with their leases."""

from __future__ import annotations

from fastapi import APIRouter, Response

from understudy.engine.run import RunFilter
from understudy.web.dashboard.page import Page
from understudy.web.dashboard.runs import briefs
from understudy.web.dashboard.visitor import Visit

_EVERY = 2.0
_WAITING = 25

router = APIRouter(route_class=Page, include_in_schema=False)


@router.get("/dashboard/queue")
async def queue(visit: Visit) -> Response:
    """What stands where, and the newest runs that have not ended."""
    engine = visit.app.engine
    crowd = await engine.crowd()
    waiting = RunFilter(visit.tenant, unfinished=True, limit=_WAITING)
    found = await engine.list(waiting)
    return await visit.show_live(
        "queue.html",
        every=_EVERY,
        crowd=crowd,
        queues=await engine.queues(visit.tenant),
        open_runs=briefs(found, crowd),
    )
