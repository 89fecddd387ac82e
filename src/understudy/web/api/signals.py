"""`/v1/signals`: a named message to the tenant's waiting runs."""

from __future__ import annotations

import http

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from understudy.web.api.asking import Repeatable
from understudy.web.api.values import TEXT, Json
from understudy.web.auth import Submitter
from understudy.web.context import TheApp
from understudy.wire import SignalView

router = APIRouter(prefix="/v1/signals", tags=["signals"])

_EXAMPLE: JsonDict = {"name": "approved", "data": {"order": 7}}


class Sent(BaseModel):
    """The body that sends a signal."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [_EXAMPLE]}
    )

    name: str = Field(min_length=1, max_length=200, pattern=TEXT)
    data: Json = Field(
        default=None, description="What waits compare their `match` with, and are given."
    )


@router.post("", status_code=http.HTTPStatus.ACCEPTED)
async def send(app: TheApp, who: Submitter, sent: Sent, asking: Repeatable) -> SignalView:
    """Send a signal: runs that wait for it go on, and operations that it triggers start.

    The same `Idempotency-Key` again sends nothing.
    """
    woken = await app.engine.emit(
        sent.name, sent.data, tenant=who.tenant, idempotency_key=asking.key
    )
    return SignalView(name=sent.name, woken=woken)
