"""The web application over an open `App`: every router, and one form for every refusal."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.routing import APIRoute

import understudy
from understudy.app import App
from understudy.web import openapi, problem
from understudy.web.api import (
    artifacts,
    events,
    health,
    metrics,
    operations,
    problems,
    queue,
    runs,
    signals,
    users,
    webhooks,
)
from understudy.web.context import Server
from understudy.web.dashboard import pages
from understudy.web.guard import Guard
from understudy.web.metrics import Metrics

UPLOADS = frozenset({"/v1/artifacts", "/dashboard/start"})
"""Paths that take bodies over `body_kb`; their routes count while they read."""

_PARTS = (
    runs,
    events,
    operations,
    artifacts,
    signals,
    webhooks,
    queue,
    users,
    health,
    metrics,
    problems,
    pages,
)


def create_app(app: App) -> FastAPI:
    """The ASGI application. It owns nothing: who opened the app closes it."""
    counted = Metrics()
    api = routed()
    api.state.app = app
    api.state.server = Server(counted)
    openapi.install(api, app.registry)
    body = int(app.settings.body_kb * 1000)
    api.add_middleware(Guard, metrics=counted, body=body, uploads=UPLOADS)
    return api


def routed() -> FastAPI:
    """All routes with no app behind them, which is enough to describe them."""
    api = FastAPI(
        title="Understudy",
        version=understudy.__version__,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=_named,
    )
    api.state.routes = [route for part in _PARTS for route in part.router.routes]
    problem.install(api)
    for part in _PARTS:
        api.include_router(part.router)
    return api


def _named(route: APIRoute) -> str:
    """What generated clients call a route: `runs_submit`."""
    return "_".join([*map(str, route.tags[:1]), route.name])
