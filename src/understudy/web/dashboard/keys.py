"""API keys: made, rotated and revoked by whoever may do everything."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from understudy.accounts.principal import SCOPES, Scope
from understudy.errors import InputError, NotFound
from understudy.web.dashboard.page import Page, go
from understudy.web.dashboard.run import Ask
from understudy.web.dashboard.visitor import Visit, Visitor

_DAY = 86_400.0
_OVERLAP = _DAY
_HOME = "/dashboard/keys"
_LIVES = {"7": "a week", "30": "30 days", "90": "90 days", "365": "a year", "": "no expiry"}

_ASKS = {
    "revoke": Ask(
        "Revoke this key?",
        "Whoever uses it is refused within seconds, and browsers that signed in with it are signed "
        "out. This cannot be undone.",
        "Revoke the key",
        danger=True,
    ),
    "rotate": Ask(
        "Rotate this key?",
        "A new key with the same rights is made and shown once. This one goes on working for a "
        "day, so that you can replace it where it is used.",
        "Make a new key",
    ),
}

router = APIRouter(route_class=Page, include_in_schema=False)


@router.get(_HOME)
async def keys(visit: Visit) -> Response:
    """All keys of the tenant."""
    visit.principal.require("admin")
    return await _show(visit)


@router.post(_HOME)
async def create(visit: Visit) -> Response:
    """Make one. Its token is on this answer and never again."""
    form = await visit.confirmed("admin")
    name = str(form.get("name") or "")
    scope, days = str(form.get("scope") or ""), str(form.get("days") or "")
    if scope not in SCOPES or days not in _LIVES:
        raise InputError("choose what the key may do, and for how long")
    expires_in = float(days) * _DAY if days else None
    try:
        key, token = await visit.app.keys.create(
            visit.tenant, name, [_scope(scope)], expires_in=expires_in
        )
    except InputError as error:
        return await _show(visit, fault=error.message, status=422)
    await visit.note("key.create", key.id, f"{key.name}: {scope}")
    return await _show(visit, made=key, token=token)


@router.get(_HOME + "/{key_id}/{action}")
async def ask(visit: Visit, key_id: str, action: str) -> Response:
    """The question before an action."""
    visit.principal.require("admin")
    if action not in _ASKS:
        raise NotFound(f"there is nothing at {_HOME}/{key_id}/{action}")
    key = await visit.app.keys.get(visit.tenant, key_id)
    return await visit.show(
        "ask.html",
        ask=_ASKS[action],
        subject=f"{key.name} (…{key.hint})",
        address=f"{_HOME}/{key_id}/{action}",
        back=_HOME,
    )


@router.post(_HOME + "/{key_id}/revoke")
async def revoke(visit: Visit, key_id: str) -> Response:
    """It works no more."""
    reason = await _reason(visit)
    await visit.app.keys.revoke(visit.tenant, key_id)
    await visit.app.sessions.revoke_of(key_id)
    await visit.note("key.revoke", key_id, reason)
    return go(visit.request, _HOME)


@router.post(_HOME + "/{key_id}/rotate")
async def rotate(visit: Visit, key_id: str) -> Response:
    """Another with the same rights; this one has a day left."""
    reason = await _reason(visit)
    key, token = await visit.app.keys.rotate(visit.tenant, key_id, _OVERLAP)
    await visit.note("key.rotate", key_id, reason)
    return await _show(visit, made=key, token=token)


async def _reason(visit: Visitor) -> str:
    return str((await visit.confirmed("admin")).get("reason") or "")


async def _show(visit: Visitor, *, status: int = 200, **more: Any) -> Response:
    values = {"made": None, "token": "", "fault": "", **more}
    known = await visit.app.keys.list(visit.tenant)
    now = visit.app.clock.now()
    order = {"active": 0, "expired": 1, "revoked": 2}
    shown = sorted(known, key=lambda key: order[key.state(now)])
    return await visit.show("keys.html", status=status, keys=shown, lives=_LIVES, **values)


def _scope(text: str) -> Scope:
    return next(scope for scope in SCOPES if scope == text)
