"""`/v1/users/{id}`: everything of a person is erased, by a durable run that reports."""

from __future__ import annotations

import http
from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import Response

from understudy.web.api import answers
from understudy.web.api.answers import says
from understudy.web.api.asking import Repeatable
from understudy.web.api.values import TEXT
from understudy.web.auth import Admin
from understudy.web.context import TheApp
from understudy.wire import RunView

router = APIRouter(prefix="/v1/users", tags=["users"])

_MADE: dict[int | str, dict[str, Any]] = {
    status: says(
        RunView,
        "A run of `erase-user`; its output is the report.",
        location=answers.LOCATION,
        retry_after=answers.RETRY_AFTER,
        idempotent_replayed=answers.REPLAYED,
    )
    for status in (202, 200)
}


@router.delete(
    "/{user:path}",
    status_code=http.HTTPStatus.ACCEPTED,
    response_model=RunView,
    responses=_MADE,
)
async def erase(
    app: TheApp,
    who: Admin,
    user: Annotated[
        str,
        Path(min_length=1, max_length=200, pattern=TEXT, description="Your own id of the person."),
    ],
    asking: Repeatable,
) -> Response:
    """Erase a person: open runs are canceled, then runs, their steps and their files erased."""
    request = asking.request({"user": user})
    made = await app.engine.accept("erase-user", {"user": user}, tenant=who.tenant, request=request)
    await app.audit.write(who.tenant, who.actor, "user.erase", subject=made.run.id)
    return await answers.accepted(app, made)
