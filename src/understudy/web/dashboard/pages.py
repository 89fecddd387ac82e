"""All pages of the dashboard, as one router."""

from __future__ import annotations

from fastapi import APIRouter, Response

from understudy.errors import NotFound
from understudy.web.dashboard import (
    assets,
    keys,
    operations,
    overview,
    queue,
    run,
    runs,
    sign_in,
    signs,
    system,
    webhooks,
)
from understudy.web.dashboard.page import Page
from understudy.web.dashboard.visitor import Visit

_last = APIRouter(route_class=Page, include_in_schema=False)


@_last.get("/dashboard/{rest:path}")
async def nothing(_: Visit, rest: str) -> Response:
    """Every other address under the dashboard."""
    raise NotFound(f"there is no page /dashboard/{rest}")


router = APIRouter(include_in_schema=False)
for _part in (
    assets,
    sign_in,
    overview,
    runs,
    signs,
    operations,
    run,
    queue,
    keys,
    webhooks,
    system,
):
    router.include_router(_part.router)
router.include_router(_last)
