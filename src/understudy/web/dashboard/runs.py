"""The list of runs, with its filters in the address."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict

from understudy.engine.crowd import Crowd
from understudy.engine.run import Run, RunFilter
from understudy.engine.view import waiting_view
from understudy.web.dashboard.page import Page
from understudy.web.dashboard.statistics import HOUR
from understudy.web.dashboard.visitor import Visit

_EVERY = 3.0
_PAGE = 40
_SPANS = {"hour": HOUR, "day": 24 * HOUR, "week": 168 * HOUR}

Status = Literal["", "open", "queued", "running", "waiting", "succeeded", "failed", "canceled"]
Span = Literal["", "hour", "day", "week"]

router = APIRouter(route_class=Page, include_in_schema=False)


@dataclasses.dataclass(frozen=True)
class Brief:
    """A run in one line: `share` is its progress in percent, `does` what it waits for or says."""

    run: Run
    share: float | None
    does: str


class Filters(BaseModel):
    """What the address asks for."""

    model_config = ConfigDict(frozen=True)

    status: Status = ""
    operation: str = ""
    user: str = ""
    span: Span = ""
    before: str = ""

    def link(self, **changed: str) -> str:
        """The address of the same list with other filters; always from its first page."""
        wanted = {**self.model_dump(), "before": "", **changed}
        query = urlencode({name: value for name, value in wanted.items() if value})
        return f"/dashboard/runs?{query}" if query else "/dashboard/runs"

    @property
    def any(self) -> bool:
        """Whether anything is left out."""
        return any((self.status, self.operation, self.user, self.span))


@router.get("/dashboard/runs")
async def runs(visit: Visit, asked: Annotated[Filters, Query()]) -> Response:
    """A page of runs, newest first."""
    now = visit.app.clock.now()
    wanted = RunFilter(
        tenant=visit.tenant,
        operation=asked.operation or None,
        status=asked.status if asked.status not in {"", "open"} else None,
        user=asked.user or None,
        since=now - _SPANS[asked.span] if asked.span else None,
        unfinished=asked.status == "open",
        before_id=asked.before or None,
        limit=_PAGE + 1,
    )
    found = await visit.app.engine.list(wanted)
    crowd = await visit.app.engine.crowd()
    shown = found[:_PAGE]
    return await visit.show_live(
        "runs.html",
        every=_EVERY,
        asked=asked,
        briefs=briefs(shown, crowd),
        older=asked.link(before=shown[-1].id) if len(found) > _PAGE else None,
        names=visit.app.registry.names,
    )


def briefs(runs: Sequence[Run], crowd: Crowd) -> list[Brief]:
    """The runs as lists show them."""
    return [_brief(run, crowd) for run in runs]


def _brief(run: Run, crowd: Crowd) -> Brief:
    said = run.progress
    share = None
    if said and said["total"] and not run.done:
        share = min(99.0, 100 * said["done"] / said["total"])
    waits = waiting_view(run, crowd)
    if run.error and run.status == "failed":
        does = str(run.error["message"])
    elif waits is not None:
        does = f"waits for {waits.text}"
    else:
        does = str(said["note"]) if said and not run.done else ""
    return Brief(run, share, does)
