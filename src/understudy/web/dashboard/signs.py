"""Signs of life: the page of a run is told when to look again, as server-sent events."""

from __future__ import annotations

from fastapi import APIRouter, Response

from understudy.engine.watching import Change
from understudy.errors import Busy
from understudy.web.api.events import Events
from understudy.web.context import TheServer
from understudy.web.dashboard.page import Page
from understudy.web.dashboard.visitor import Visit

_FULL_SECONDS = 30.0

router = APIRouter(route_class=Page, include_in_schema=False)


class Signs(Events):
    """The events of a run without what is in them: the page fetches itself anew."""

    async def _event(self, change: Change) -> bytes:
        return f"id: {change.cursor}\nevent: change\ndata: {change.cursor}\n\n".encode()


@router.get("/dashboard/runs/{run_id}/signs")
async def signs(visit: Visit, server: TheServer, run_id: str) -> Response:
    """One sign for each change, until the run is done; the page polls where there is no room."""
    app = visit.app
    run = await app.engine.get(run_id, visit.tenant)
    if server.streams >= app.settings.watchers:
        raise Busy("too many pages are open", retry_after=_FULL_SECONDS)
    watch = app.engine.watching.watch(run_id, visit.tenant, None)
    if run.done:
        return Response(status_code=204)
    return Signs(app, server, watch, None)
