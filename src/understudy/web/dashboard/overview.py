"""The first page: how it goes, who works, what came last."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import RedirectResponse

from understudy.engine.run import RunFilter
from understudy.web.dashboard.page import Page
from understudy.web.dashboard.runs import briefs
from understudy.web.dashboard.statistics import HOUR, HOURS, day
from understudy.web.dashboard.visitor import Visit

_EVERY = 4.0
_LOOKED_AT = 2000
_LAST = 8

router = APIRouter(route_class=Page, include_in_schema=False)


@router.get("/")
async def root() -> Response:
    """The server's door leads here."""
    return RedirectResponse("/dashboard", status_code=307)


@router.get("/dashboard")
async def overview(visit: Visit) -> Response:
    """Throughput, success and durations of the last day, the workers, and the last runs."""
    engine, now = visit.app.engine, visit.app.clock.now()
    since = RunFilter(visit.tenant, since=now - HOURS * HOUR, limit=_LOOKED_AT)
    found = await engine.list(since)
    crowd = await engine.crowd()
    return await visit.show_live(
        "overview.html",
        every=_EVERY,
        day=day(found, now, sampled=len(found) == _LOOKED_AT),
        crowd=crowd,
        queues=await engine.queues(visit.tenant),
        recent=briefs(found[:_LAST], crowd),
        failed=briefs([run for run in found if run.status == "failed"][:5], crowd),
    )
