"""`/v1/artifacts`: store a file, look at it, load it, delete it."""

from __future__ import annotations

import http
import json
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.exceptions import RequestValidationError
from fastapi.requests import Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from understudy.app import App
from understudy.artifacts.artifact import Artifact
from understudy.artifacts.artifacts import Artifacts
from understudy.clock import iso
from understudy.errors import AddressRefused, InvalidInput, OutOfRange, TooLarge
from understudy.outbound import MOST_URL
from understudy.web import multipart
from understudy.web.api.answers import origin, refused, says
from understudy.web.auth import Reader, Submitter, admit
from understudy.web.context import TheApp
from understudy.web.problem import MalformedError, PointedError, of_error, pointer_to
from understudy.web.sending import send
from understudy.wire import ArtifactView

router = APIRouter(prefix="/v1/artifacts", tags=["artifacts"])

FIELD = "file"
"""The field of a form that holds the file."""

_FETCH_SECONDS = 120.0
_TEXT = r"^[^\x00]*$"

ArtifactId = Annotated[
    str,
    Path(
        pattern=r"^[0-9A-Za-z_]{1,64}$",
        description="The artifact's id.",
        examples=["art_01kafyb8xq2c4e6g8j0m2p4r6t"],
    ),
]
User = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=200,
        pattern=_TEXT,
        description="Whom the file is for: your own id of your customer. It is erased with him.",
    ),
]


class Named(BaseModel):
    """A file that lies elsewhere."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(
        min_length=1,
        max_length=MOST_URL,
        description="Where it lies: http or https, on the public network.",
        examples=["https://example.com/photo.jpg"],
    )
    name: str | None = Field(
        default=None,
        min_length=1,
        max_length=255,
        pattern=_TEXT,
        description="Its name; without one, the last of the URL.",
    )


_FORM = {
    "type": "object",
    "required": [FIELD],
    "additionalProperties": False,
    "properties": {FIELD: {"type": "string", "format": "binary"}},
}
_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {"schema": _FORM},
        "application/json": {"schema": Named.model_json_schema()},
    },
}
_LOCATION = {"description": "Where the artifact is.", "schema": {"type": "string"}}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_TAG = {"description": "The SHA-256 of the file.", "schema": {"type": "string"}}
_PART = {"description": "Which part this is, of how much.", "schema": {"type": "string"}}
_PARTS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": {"*/*": _BINARY}, "headers": {"ETag": _TAG}},
    206: {
        "description": "The part that `Range` asked for.",
        "content": {"*/*": _BINARY},
        "headers": {"ETag": _TAG, "Content-Range": _PART},
    },
    304: {"description": "`If-None-Match` names the file as it is."},
}


@router.post(
    "",
    status_code=http.HTTPStatus.CREATED,
    response_model=ArtifactView,
    responses={
        201: says(ArtifactView, "Stored; its `id` is what an input names.", location=_LOCATION),
        **refused("malformed", "invalid_input", "input", "too_large", "address_refused"),
        **refused("storage_full", "unreachable"),
    },
    openapi_extra={"requestBody": _BODY},
)
async def store(app: TheApp, who: Submitter, request: Request, user: User = None) -> Response:
    """Store a file: as the field `file` of a form, or named by a URL that the server loads.

    It is kept for some days unless a run uses it. What it is is told from its content.
    """
    files = app.artifacts.bound(tenant=who.tenant, user=user)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "application/json":
            stored = await _fetch(app, files, await _named(app, request))
        else:
            stored = await _upload(app, files, request)
    except TooLarge as error:
        answer = of_error(error, request)
        answer.headers["Connection"] = "close"  # what is still on its way is not read
        return answer
    view = await view_of(app, stored)
    headers = {"Location": f"{origin(app)}{router.prefix}/{stored.id}"}
    return Response(
        view.model_dump_json(), http.HTTPStatus.CREATED, headers, media_type="application/json"
    )


@router.get("/{artifact_id}", responses=refused("not_found"))
async def show(app: TheApp, who: Reader, artifact_id: ArtifactId) -> ArtifactView:
    """What is known of a file, with a link to its bytes that needs no key and expires."""
    return await view_of(app, await app.artifacts.bound(tenant=who.tenant).get(artifact_id))


@router.head("/{artifact_id}/content", include_in_schema=False)
@router.get(
    "/{artifact_id}/content",
    response_model=None,
    responses={**_PARTS, **refused("not_found", "unauthorized", "forbidden", "out_of_range")},
    openapi_extra={"security": [{"bearer": ["read"]}, {}]},
)
async def content(
    app: TheApp,
    request: Request,
    artifact_id: ArtifactId,
    expires: Annotated[str | None, Query(description="Of a signed link.")] = None,
    signature: Annotated[str | None, Query(description="Of a signed link.")] = None,
    download: Annotated[bool, Query(description="To be saved, whatever it is.")] = False,
) -> Response:
    """The bytes of a file, or a part of them: with a key, or by the link that `url` gives."""
    if signature is None:
        principal = await admit(request, "read")
        files = app.artifacts.bound(tenant=principal.tenant)
    else:
        await app.links.check(content_path(artifact_id), expires or "", signature)
        files = await app.artifacts.door_of(artifact_id)
    artifact = await files.get(artifact_id)
    try:
        return await send(request, artifact, await files.path(artifact_id), save=download)
    except OutOfRange as error:
        answer = of_error(error, request)
        answer.headers["Content-Range"] = f"bytes */{error.size}"
        return answer


@router.delete(
    "/{artifact_id}", status_code=http.HTTPStatus.NO_CONTENT, responses=refused("not_found")
)
async def delete(app: TheApp, who: Submitter, artifact_id: ArtifactId) -> None:
    """Delete a file. Runs that are still to read it will fail."""
    await app.artifacts.bound(tenant=who.tenant).delete(artifact_id)


async def view_of(app: App, artifact: Artifact) -> ArtifactView:
    """A file's facts, with a link to its bytes."""
    link = await app.links.sign(content_path(artifact.id))
    facts = artifact.model_dump(exclude={"created_at", "expires_at"})
    return ArtifactView(
        **facts,
        created_at=iso(artifact.created_at),
        expires_at=None if artifact.expires_at is None else iso(artifact.expires_at),
        url=f"{origin(app)}{link.path}",
        url_expires_at=iso(link.expires_at),
    )


def content_path(artifact_id: str) -> str:
    """Where the bytes of a file are, which is what a link signs."""
    return f"{router.prefix}/{artifact_id}/content"


async def _upload(app: App, files: Artifacts, request: Request) -> Artifact:
    limits = multipart.Limits(_most(app), _body_limit(app), files=1)
    form = await multipart.store_form(request, files, limits)
    unknown = [name for name, _ in form.fields] + [n for n, _ in form.files if n != FIELD]
    if unknown or not form.files:
        await multipart.discard(form, files)
        if unknown:
            said = f"the field {unknown[0]!r} is not known: a form has one, {FIELD!r}"
        else:
            said = f"the form has no file in the field {FIELD!r}"
        raise PointedError(InvalidInput(said), pointer_to([*unknown, FIELD][:1]))
    return form.files[0][1]


async def _fetch(app: App, files: Artifacts, named: Named) -> Artifact:
    try:
        async with app.fetcher.get(named.url, most=_most(app), within=_FETCH_SECONDS) as found:
            return await files.put(found.pieces, name=named.name or found.name)
    except AddressRefused as error:
        raise PointedError(error, "/url") from error


async def _named(app: App, request: Request) -> Named:
    body = b"".join([piece async for piece in multipart.limited(request, _body_limit(app))])
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"the body is not JSON: {error}", "") from error
    try:
        return Named.model_validate(given, strict=True)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        raise RequestValidationError(
            [{**fault, "loc": ("body", *fault["loc"])} for fault in faults]
        ) from error


def _most(app: App) -> int:
    return int(app.settings.upload_mb * 1_000_000)


def _body_limit(app: App) -> int:
    return int(app.settings.body_kb * 1000)
