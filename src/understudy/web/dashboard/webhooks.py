"""The addresses that are told of runs' ends, and whether they take it."""

from __future__ import annotations

from fastapi import APIRouter, Response

from understudy.engine.run import RunFilter
from understudy.errors import NotFound
from understudy.web.dashboard.page import Page, go
from understudy.web.dashboard.run import Ask
from understudy.web.dashboard.runs import briefs
from understudy.web.dashboard.visitor import Visit, Visitor

_HOME = "/dashboard/webhooks"
_DELIVERY = "deliver-webhook"
_LAST = 15

_ASKS = {
    "disable": Ask(
        "Switch this address off?",
        "Nothing is sent there until it is switched on again; what happens meanwhile can be sent "
        "again by hand.",
        "Switch it off",
        danger=True,
    ),
    "enable": Ask(
        "Switch this address on?", "What ends from now on is told there.", "Switch it on"
    ),
    "rotate": Ask(
        "Make a new secret?",
        "Messages are signed with the new and, for a day, with the old secret as well, so that the "
        "receiver can change over without losing any.",
        "Make a new secret",
    ),
}

router = APIRouter(route_class=Page, include_in_schema=False)


@router.get(_HOME)
async def webhooks(visit: Visit) -> Response:
    """Every address, and the last deliveries, each of which is a run."""
    visit.principal.require("admin")
    crowd = await visit.app.engine.crowd()
    sent = await visit.app.engine.list(RunFilter(visit.tenant, operation=_DELIVERY, limit=_LAST))
    return await visit.show(
        "webhooks.html",
        hooks=await visit.app.webhooks.list(visit.tenant),
        deliveries=briefs(sent, crowd),
    )


@router.get(_HOME + "/{webhook_id}/secret")
async def secret(visit: Visit, webhook_id: str) -> Response:
    """What its receiver checks signatures with; looking at it leaves a row in the audit."""
    visit.principal.require("admin")
    hook = await visit.app.webhooks.get(visit.tenant, webhook_id)
    secrets = await visit.app.webhooks.secrets(visit.tenant, webhook_id)
    await visit.note("webhook.secret", webhook_id)
    return await visit.show("secret.html", hook=hook, secrets=secrets, back=_HOME)


@router.get(_HOME + "/{webhook_id}/{action}")
async def ask(visit: Visit, webhook_id: str, action: str) -> Response:
    """The question before an action."""
    visit.principal.require("admin")
    if action not in _ASKS:
        raise NotFound(f"there is nothing at {_HOME}/{webhook_id}/{action}")
    hook = await visit.app.webhooks.get(visit.tenant, webhook_id)
    return await visit.show(
        "ask.html",
        ask=_ASKS[action],
        subject=hook.url,
        address=f"{_HOME}/{webhook_id}/{action}",
        back=_HOME,
    )


@router.post(_HOME + "/{webhook_id}/disable")
async def disable(visit: Visit, webhook_id: str) -> Response:
    """Send nothing there."""
    reason = await _reason(visit)
    await visit.app.webhooks.disable(visit.tenant, webhook_id, reason or "switched off by hand")
    await visit.note("webhook.disable", webhook_id, reason)
    return go(visit.request, _HOME)


@router.post(_HOME + "/{webhook_id}/enable")
async def enable(visit: Visit, webhook_id: str) -> Response:
    """Send there again."""
    reason = await _reason(visit)
    await visit.app.webhooks.enable(visit.tenant, webhook_id)
    await visit.note("webhook.enable", webhook_id, reason)
    return go(visit.request, _HOME)


@router.post(_HOME + "/{webhook_id}/rotate")
async def rotate(visit: Visit, webhook_id: str) -> Response:
    """Sign with another secret."""
    reason = await _reason(visit)
    await visit.app.webhooks.rotate(visit.tenant, webhook_id)
    await visit.note("webhook.rotate", webhook_id, reason)
    return go(visit.request, f"{_HOME}/{webhook_id}/secret")


async def _reason(visit: Visitor) -> str:
    return str((await visit.confirmed("admin")).get("reason") or "")
