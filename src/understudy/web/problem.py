"""Every refusal as `application/problem+json` (RFC 9457), by one table made from `errors.py`.

A problem's `type` is `/problems/CODE`, which explains it; `code` is what programs decide by, and
`errors` names the parts at fault as JSON pointers. Nothing internal is told.
"""

from __future__ import annotations

import dataclasses
import http
import inspect
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from understudy import errors
from understudy.errors import Error, InputError
from understudy.wire import FaultView, ProblemView

MEDIA_TYPE = "application/problem+json"

_log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """One type of problem: what programs and people are told about it."""

    code: str
    status: int
    title: str
    meaning: str
    category: str
    retriable: bool

    @property
    def type(self) -> str:
        """The problem's URI, which answers with its meaning."""
        return f"/problems/{self.code}"


class PointedError(Exception):
    """An error of the house, with the part of the request that is at fault as a JSON pointer."""

    def __init__(self, error: Error, pointer: str) -> None:
        super().__init__(error.message)
        self.error = error
        self.pointer = pointer


class MalformedError(Exception):
    """A header, a parameter or a body that is not well made; `place` is where, as in a fault."""

    def __init__(self, detail: str, place: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.place = place


def _titled(name: str) -> str:
    """A class name as words: `KeyReused` is `Key reused`."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return words[:1] + words[1:].lower()


def _kinds() -> Iterator[Kind]:
    for error in errors.every_error():
        meaning = inspect.cleandoc(error.__doc__ or "").partition("\n\n")[0]
        title = _titled(error.__name__)
        category = error.category
        yield Kind(error.code, error.status, title, meaning, category, error.retriable)
    yield Kind(
        "malformed", 400, "Malformed", "The body is not JSON, or a header is not well made.",
        "input", retriable=False,
    )  # fmt: skip
    yield Kind(
        "method_not_allowed", 405, "Method not allowed",
        "The path is known, but not with this method; `Allow` names those that are.",
        "input", retriable=False,
    )  # fmt: skip
    yield Kind(
        "internal", 500, "Internal error",
        "A fault in Understudy. The server's log has it; please report it.",
        "internal", retriable=True,
    )  # fmt: skip


PROBLEMS: Mapping[str, Kind] = {kind.code: kind for kind in _kinds()}
"""Every problem that this server gives, by code."""

_BY_STATUS = {
    400: "malformed",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
}


def problem(
    code: str,
    detail: str,
    *,
    instance: str | None = None,
    faults: Sequence[FaultView] = (),
    retry_after: float | None = None,
) -> Response:
    """The answer for a problem of this code. `retry_after` (seconds) is told as a header, too."""
    kind = PROBLEMS.get(code, PROBLEMS["internal"])
    said = ProblemView(
        type=kind.type,
        title=kind.title,
        status=kind.status,
        detail=_shown(detail),
        instance=instance,
        code=kind.code,
        category=kind.category,
        errors=list(faults),
        retry_after=retry_after,
    )
    headers = {} if retry_after is None else {"Retry-After": str(math.ceil(retry_after))}
    if kind.status == http.HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="understudy"'
    body = said.model_dump_json().encode()
    return Response(body, kind.status, headers, media_type=MEDIA_TYPE)


def of_error(error: Error, request: Request, *, pointer: str | None = None) -> Response:
    """The problem for an error of the house."""
    kind = PROBLEMS.get(error.code, PROBLEMS["internal"])
    if kind.status == http.HTTPStatus.INTERNAL_SERVER_ERROR:
        # What is no caller's fault is for the log: it may name files and servers.
        _log.error("request_failed", path=request.url.path, exc_info=error)
        return problem(kind.code, kind.meaning, instance=request.url.path)
    cause = error.__cause__
    faults: list[FaultView] = []
    if isinstance(cause, ValidationError) and isinstance(error, InputError):
        faults = [*faults_of(cause.errors(include_url=False), pointer or "/input")]
    elif pointer is not None:
        faults = [FaultView(pointer=pointer, detail=_shown(error.message))]
    return problem(
        kind.code,
        error.message,
        instance=request.url.path,
        faults=faults,
        retry_after=error.retry_after,
    )


def faults_of(found: Iterable[Mapping[str, Any]], root: str = "") -> Iterator[FaultView]:
    """Pydantic's list of what does not fit, as JSON pointers below `root`."""
    for fault in found:
        yield FaultView(pointer=root + pointer_to(fault["loc"]), detail=_shown(fault["msg"]))


def pointer_to(place: Iterable[str | int]) -> str:
    """A JSON pointer (RFC 6901) to a place, such as `/input/photos/0`."""
    parts = (str(part).replace("~", "~0").replace("/", "~1") for part in place)
    return "".join(f"/{part}" for part in parts)


def _shown(text: str) -> str:
    """Text that any JSON can hold: half a character of UTF-16 is shown as its code."""
    return text.encode("utf-8", "backslashreplace").decode()


async def _pointed(request: Request, error: Exception) -> Response:
    assert isinstance(error, PointedError)
    return of_error(error.error, request, pointer=error.pointer)


async def _malformed(request: Request, error: Exception) -> Response:
    assert isinstance(error, MalformedError)
    faults = [FaultView(pointer=error.place, detail=error.detail)]
    return problem("malformed", error.detail, instance=request.url.path, faults=faults)


async def _house(request: Request, error: Exception) -> Response:
    assert isinstance(error, Error)
    return of_error(error, request)


async def _invalid(request: Request, error: Exception) -> Response:
    """A parameter or a body that does not fit: JSON pointers, or `query:name` and the like."""
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if any(fault["loc"][0] == "path" for fault in found):
        path = request.url.path
        return problem("not_found", f"there is nothing at {path}", instance=path)
    if any(fault["type"] == "json_invalid" for fault in found):
        reason = (found[0].get("ctx") or {}).get("error", "")
        detail = f"the body is not JSON: {reason}".rstrip(": ")
        whole = [FaultView(pointer="", detail=_shown(detail))]
        return problem("malformed", detail, instance=request.url.path, faults=whole)
    faults = [_fault(fault) for fault in found]
    detail = "; ".join(f"{fault.pointer or 'body'}: {fault.detail}" for fault in faults)
    return problem("invalid_input", detail, instance=request.url.path, faults=faults)


def _fault(fault: Mapping[str, Any]) -> FaultView:
    where, *place = fault["loc"]
    pointer = pointer_to(place) if where == "body" else f"{where}:{place[0] if place else ''}"
    return FaultView(pointer=pointer, detail=_shown(fault["msg"]))


async def _http(request: Request, error: Exception) -> Response:
    """What the framework itself refuses: unknown routes and methods, bodies that it cannot read."""
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, Error):  # met while the body was read
        return of_error(error.__cause__, request)
    code = _BY_STATUS.get(error.status_code, "internal")
    detail = error.detail
    if code == "not_found":
        detail = f"there is nothing at {request.url.path}"
    elif code == "method_not_allowed":
        detail = f"{request.url.path} does not take {request.method}"
    faults = [FaultView(pointer="", detail=_shown(detail))] if code == "malformed" else []
    answer = problem(code, detail, instance=request.url.path, faults=faults)
    if code == "method_not_allowed":
        told = (error.headers or {}).get("Allow", "")
        answer.headers["Allow"] = ", ".join(_methods(request)) or told
    return answer


def _methods(request: Request) -> list[str]:
    """The methods that a path takes; the framework itself looks at one route only."""
    found: set[str] = set()
    for route in request.app.state.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return sorted(found)


def install(api: FastAPI) -> None:
    """Have every refusal of `api` answered in this one form."""
    api.add_exception_handler(Error, _house)
    api.add_exception_handler(PointedError, _pointed)
    api.add_exception_handler(MalformedError, _malformed)
    api.add_exception_handler(RequestValidationError, _invalid)
    api.add_exception_handler(HTTPException, _http)
