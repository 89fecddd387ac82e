"""`/v1/webhooks`: the addresses that are told of runs' ends, and telling one of them again."""

from __future__ import annotations

import http
from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.requests import Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from understudy.accounts.principal import Principal
from understudy.accounts.webhooks import OVERLAP, Webhook
from understudy.app import App
from understudy.clock import iso
from understudy.errors import AddressRefused, Conflict
from understudy.outbound import MOST_URL
from understudy.web.api import answers, pages
from understudy.web.api.answers import RunId, refused, says
from understudy.web.auth import Admin, Reader, Submitter, address_of
from understudy.web.context import TheApp
from understudy.web.problem import PointedError
from understudy.wire import RunView, SecretView, WebhookPage, WebhookView

router = APIRouter(prefix="/v1", tags=["webhooks"])

OPERATION = "deliver-webhook"
_LONGEST_OVERLAP = 30 * 86_400.0
_QUESTION = "webhooks"

WebhookId = Annotated[
    str,
    Path(
        pattern=r"^[0-9A-Za-z_]{1,64}$",
        description="The webhook's id.",
        examples=["hook_01kafyb8xq2c4e6g8j0m2p4r6t"],
    ),
]


class Address(BaseModel):
    """An address that is to be told."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(
        min_length=1,
        max_length=MOST_URL,
        description="Where to tell: https, on the public network.",
        examples=["https://example.com/told"],
    )


class Why(BaseModel):
    """Why somebody does this, for those who look later."""

    model_config = ConfigDict(extra="forbid")

    reason: str | None = Field(
        default=None, min_length=1, max_length=200, pattern=r"^[^\x00]*$", examples=["moved"]
    )


class Rotation(BaseModel):
    """How a secret is replaced."""

    model_config = ConfigDict(extra="forbid", strict=True)

    overlap: float = Field(
        default=OVERLAP,
        ge=0,
        le=_LONGEST_OVERLAP,
        description="Seconds for which the old secret signs as well.",
    )


class Listing(BaseModel):
    """Which page of the list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=50, ge=1, le=200, description="How many a page.")
    page: str | None = Field(default=None, max_length=500, description="`next` of the page before.")


@router.get("/webhooks", responses=refused("malformed", "invalid_input"))
async def listing(app: TheApp, who: Reader, wanted: Annotated[Listing, Query()]) -> WebhookPage:
    """List the addresses that runs have named, the newest first."""
    before = None if wanted.page is None else pages.place_of(wanted.page, _QUESTION)
    found = await app.webhooks.list(who.tenant, before, wanted.limit + 1)
    shown = found[: wanted.limit]
    more = len(found) > wanted.limit
    return WebhookPage(
        items=[_view(hook) for hook in shown],
        next=pages.token_for(shown[-1].id, _QUESTION) if more else None,
    )


@router.post("/webhooks", responses=refused("invalid_input", "address_refused"))
async def register(app: TheApp, who: Submitter, address: Address) -> WebhookView:
    """Make an address known, so that its secret can be had before the first run names it."""
    try:
        return _view(await app.webhooks.register(who.tenant, address.url))
    except AddressRefused as error:
        raise PointedError(error, "/url") from error


@router.get("/webhooks/{webhook_id}", responses=refused("not_found"))
async def show(app: TheApp, who: Reader, webhook_id: WebhookId) -> WebhookView:
    """Look at an address: whether it is told, and since when it fails."""
    return _view(await app.webhooks.get(who.tenant, webhook_id))


@router.get("/webhooks/{webhook_id}/secret", responses=refused("not_found"))
async def secret(app: TheApp, who: Admin, webhook_id: WebhookId, request: Request) -> SecretView:
    """What signs for an address: for its receiver, who checks with it that we have sent."""
    current, *_ = await app.webhooks.secrets(who.tenant, webhook_id)
    await _note(app, who, request, "webhook.secret", webhook_id)
    return SecretView(secret=current)


@router.post("/webhooks/{webhook_id}/enable", responses=refused("not_found"))
async def enable(app: TheApp, who: Admin, webhook_id: WebhookId, request: Request) -> WebhookView:
    """Tell an address again. What it has missed can be delivered again, run by run."""
    hook = await app.webhooks.enable(who.tenant, webhook_id)
    await _note(app, who, request, "webhook.enable", webhook_id)
    return _view(hook)


@router.post("/webhooks/{webhook_id}/disable", responses=refused("not_found", "invalid_input"))
async def disable(
    app: TheApp, who: Admin, webhook_id: WebhookId, request: Request, why: Why | None = None
) -> WebhookView:
    """Tell an address nothing any more, until it is enabled."""
    reason = (why and why.reason) or f"switched off by {who.name}"
    hook = await app.webhooks.disable(who.tenant, webhook_id, reason)
    await _note(app, who, request, "webhook.disable", webhook_id, reason)
    return _view(hook)


@router.post("/webhooks/{webhook_id}/rotate", responses=refused("not_found", "invalid_input"))
async def rotate(
    app: TheApp,
    who: Admin,
    webhook_id: WebhookId,
    request: Request,
    rotation: Rotation | None = None,
) -> WebhookView:
    """Replace the secret. For a while both sign, so that the receiver can change over."""
    overlap = OVERLAP if rotation is None else rotation.overlap
    hook = await app.webhooks.rotate(who.tenant, webhook_id, overlap)
    await _note(app, who, request, "webhook.rotate", webhook_id)
    return _view(hook)


@router.post(
    "/runs/{run_id}/redeliver",
    status_code=http.HTTPStatus.ACCEPTED,
    response_model=RunView,
    responses={
        202: says(RunView, "The run that delivers it.", location=answers.LOCATION),
        200: says(RunView, "It is delivered already.", location=answers.LOCATION),
        **refused("not_found", "conflict"),
    },
)
async def redeliver(app: TheApp, who: Submitter, run_id: RunId) -> Response:
    """Tell the run's address of its end once more, with the same `webhook-id`."""
    run = await app.engine.get(run_id, who.tenant)
    if run.webhook is None:
        raise Conflict(f"{run_id} names no webhook")
    if not run.done:
        raise Conflict(f"{run_id} is {run.status}: there is nothing to tell yet")
    hook = await app.webhooks.register(who.tenant, run.webhook)
    if not hook.enabled:
        raise Conflict(f"{hook.id} is switched off: {hook.reason}; enable it first")
    told = {
        "run_id": run.id,
        "url": run.webhook,
        "event": f"run.{run.status}",
        "attempt": run.attempt,
    }
    made = await app.engine.submit(OPERATION, told, tenant=who.tenant, user=run.user)
    return answers.answer(await answers.viewed(app, made))


async def _note(
    app: App,
    who: Principal,
    request: Request,
    action: str,
    webhook_id: str,
    reason: str | None = None,
) -> None:
    address = address_of(request)
    await app.audit.write(who.tenant, who.actor, action, webhook_id, reason, address)


def _view(hook: Webhook) -> WebhookView:
    return WebhookView(
        id=hook.id,
        url=hook.url,
        enabled=hook.enabled,
        created_at=iso(hook.created_at),
        failing_since=_time(hook.failing_since),
        disabled_at=_time(hook.disabled_at),
        reason=hook.reason,
        former_until=_time(hook.former_until),
    )


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else iso(seconds)
