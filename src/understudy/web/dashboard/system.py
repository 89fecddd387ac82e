"""The installation and what was done to it by hand: system and audit."""

from __future__ import annotations

import platform
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Response
from pydantic import SecretStr

from understudy.errors import Forbidden
from understudy.settings import Settings
from understudy.web.dashboard.page import Page
from understudy.web.dashboard.visitor import Visit
from understudy.web.dashboard.words import NOTHING

_EVERY = 5.0
_PAGE = 50
_SECRET = ("key", "secret", "token", "password")

router = APIRouter(route_class=Page, include_in_schema=False)


@router.get("/dashboard/system")
async def system(visit: Visit) -> Response:
    """Version, database, workers, and every setting with what is secret left out."""
    visit.principal.require("admin")
    if not visit.at_home:
        raise Forbidden("how this server is set up concerns its own tenant only")
    app = visit.app
    stats = app.database.writer_stats
    return await visit.show_live(
        "system.html",
        every=_EVERY,
        database=_place(app.settings.database_url),
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.machine()}",
        stats=stats,
        everybody=await app.engine.workers(),
        settings=[(name, shown(app.settings, name)) for name in Settings.model_fields],
        notes={name: field.description or "" for name, field in Settings.model_fields.items()},
    )


@router.get("/dashboard/audit")
async def audit(visit: Visit, before: int | None = None) -> Response:
    """Who did what, newest first."""
    visit.principal.require("admin")
    entries = await visit.app.audit.list(visit.tenant, before=before, limit=_PAGE + 1)
    older = entries[_PAGE - 1].id if len(entries) > _PAGE else None
    return await visit.show("audit.html", entries=entries[:_PAGE], older=older, before=before)


def shown(settings: Settings, name: str) -> str:
    """A setting in words; of a secret only that there is one."""
    value: Any = getattr(settings, name)
    if value in (None, "", {}):
        return NOTHING
    if isinstance(value, SecretStr) or name.endswith(tuple(f"_{word}" for word in _SECRET)):
        return "set, and kept to itself"
    return _place(str(value)) if name.endswith("_url") else str(value)


def _place(url: str) -> str:
    """A URL without who signs in there, and without its query."""
    parts = urlsplit(url)
    if not parts.netloc:
        return url.partition("?")[0]
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
