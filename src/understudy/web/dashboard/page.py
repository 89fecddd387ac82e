"""How every page is answered: in HTML also when it is refused, under headers that let in nothing.

No page has script or style of its own; both come as files of this server, and the policy says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from understudy.errors import Error, NotFound, Unauthorized
from understudy.web.dashboard.rendering import is_fragment, render

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "media-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
SIGN_IN = "/dashboard/sign-in"

_log = structlog.get_logger(__name__)


class Page(APIRoute):
    """A route of the dashboard: what it raises is shown as a page, too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own handler, with refusals answered in HTML."""
        inner = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                answer = await inner(request)
            except Error as error:
                answer = _refused(request, error)
            except RequestValidationError:
                answer = _refused(request, NotFound("there is no such page"))
            except HTTPException:
                raise
            except Exception as error:  # noqa: BLE001 - the edge: a person gets a page, the log the rest
                answer = _refused(request, error)
            for name, value in _HEADERS.items():
                answer.headers.setdefault(name, value)
            return answer

        return handle


def go(request: Request, address: str) -> Response:
    """Send the browser there: by a redirect, or as htmx wants to be told."""
    if "hx-request" in request.headers:
        return Response(headers={"HX-Redirect": address})
    return RedirectResponse(address, status_code=303)


def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, Error):
        error, cause = Error("a fault in Understudy"), error
        error.__cause__ = cause
    if isinstance(error, Unauthorized) and not request.url.path.startswith(SIGN_IN):
        after = request.url.path if request.method == "GET" and not is_fragment(request) else ""
        return go(request, f"{SIGN_IN}?after={after}" if after else SIGN_IN)
    told = error.status < 500 or error.status == 507
    if not told:
        _log.error("page_failed", path=request.url.path, exc_info=error)
    message = error.message if told else "Something went wrong in this server; its log says more."
    context = {
        "status": error.status,
        "title": _title(error.status),
        "message": message,
        "visitor": getattr(request.state, "visitor", None),
    }
    answer = render(request, "error.html", context, status=error.status)
    if error.retry_after is not None:
        answer.headers["Retry-After"] = str(math.ceil(error.retry_after))
    return answer


def _title(status: int) -> str:
    return {
        401: "Please sign in",
        403: "Not allowed",
        404: "Nothing here",
        409: "Not any more",
        413: "Too large",
        422: "This does not fit",
        429: "Too many at once",
        507: "The disk is full",
    }.get(status, "That did not work")
