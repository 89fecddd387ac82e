"""`/metrics`: what Prometheus reads; of the whole installation, so for its own tenant's admins."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from understudy.errors import Forbidden
from understudy.web.auth import Admin
from understudy.web.context import TheApp, TheServer

router = APIRouter(tags=["health"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {
            "description": "The text format of Prometheus.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    },
)
async def metrics(app: TheApp, server: TheServer, who: Admin) -> Response:
    """Numbers of this process, and of the queue that it shares with others."""
    if who.tenant != app.tenant:
        raise Forbidden("these numbers are of all tenants: take a key of the server's own")
    queues = await app.engine.queues()
    workers = await app.engine.workers()
    server.metrics.look(queues, workers, app.database.writer_stats, now=app.clock.now())
    return Response(generate_latest(server.metrics.registry), media_type=CONTENT_TYPE_LATEST)
