"""In and out: a key, or the one-time link of a first start, is traded for a session."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from understudy.errors import TooMany, Unauthorized
from understudy.web import auth
from understudy.web.context import TheApp
from understudy.web.dashboard.page import SIGN_IN, Page, go
from understudy.web.dashboard.rendering import render
from understudy.web.dashboard.visitor import Visit

LINK = "/dashboard/link"
"""Where a one-time link leads: this, a slash, and its token."""

_HOME = "/dashboard"

router = APIRouter(route_class=Page, include_in_schema=False)


@router.get(SIGN_IN)
async def page(request: Request, app: TheApp, after: str = "") -> Response:
    """Ask for a key; who needs none is sent on."""
    if await auth.browser_session(request) is not None:
        return go(request, _own(after))
    return await _ask(request, app, after)


@router.post(SIGN_IN)
async def enter(request: Request, app: TheApp) -> Response:
    """Trade a key for a session."""
    async with request.form() as form:
        key, after = str(form.get("key") or ""), str(form.get("after") or "")
    auth.check_site(request)
    try:
        token, _ = await auth.sign_in(request, key)
    except (Unauthorized, TooMany) as error:
        return await _ask(request, app, after, fault=error.message, status=error.status)
    return _let_in(request, token, after)


@router.get(LINK + "/{token}")
async def link(request: Request, token: str) -> Response:
    """Ask before a link is used up, so that whatever only looks at it does not."""
    return render(request, "sign_in.html", {"link": f"{LINK}/{token}", "fault": "", "after": ""})


@router.post(LINK + "/{token}")
async def redeem(request: Request, app: TheApp, token: str) -> Response:
    """Trade a one-time link for a session."""
    auth.check_site(request)
    try:
        session, _ = await auth.redeem(request, token)
    except (Unauthorized, TooMany) as error:
        return await _ask(request, app, "", fault=error.message, status=error.status)
    return _let_in(request, session, "")


@router.post("/dashboard/sign-out")
async def leave(visit: Visit, request: Request) -> Response:
    """End the session."""
    await visit.confirmed("read")
    answer = go(request, SIGN_IN)
    await auth.sign_out(request, answer)
    return answer


async def _ask(
    request: Request, app: TheApp, after: str, *, fault: str = "", status: int = 200
) -> Response:
    keyless = not await app.keys.configured()
    values = {"link": "", "fault": fault, "after": _own(after), "keyless": keyless}
    return render(request, "sign_in.html", values, status=status)


def _let_in(request: Request, token: str, after: str) -> Response:
    answer = go(request, _own(after))
    auth.remember(request, answer, token)
    return answer


def _own(address: str) -> str:
    """A page of ours to go to, whatever was asked for: never another site."""
    ours = address == _HOME or address.startswith(f"{_HOME}/")
    return address if ours and not address.startswith((SIGN_IN, LINK)) else _HOME
