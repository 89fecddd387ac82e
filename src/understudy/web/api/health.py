"""`/healthz` and `/readyz`: whether the process lives, and whether it should be sent requests."""

from __future__ import annotations

from fastapi import APIRouter

from understudy.engine.run import RunFilter
from understudy.errors import Busy
from understudy.web.api.answers import refused
from understudy.web.context import TheApp, TheServer
from understudy.wire import HealthView

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def alive() -> HealthView:
    """Whether the process answers at all. Restart it when it does not."""
    return HealthView(status="ok")


@router.get("/readyz", responses=refused("busy", "storage"))
async def ready(app: TheApp, server: TheServer) -> HealthView:
    """Whether it can work now: its database answers, and it is not about to end."""
    if server.draining:
        raise Busy("this process is about to end", retry_after=1)
    await app.engine.list(RunFilter(tenant=app.tenant, limit=1))
    return HealthView(status="ready")
