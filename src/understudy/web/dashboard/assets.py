"""Bytes for the pages: the dashboard's own files, and the pictures, films and sounds of runs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse

from understudy.errors import NotFound
from understudy.web.dashboard.page import Page
from understudy.web.dashboard.previews import shown_inline
from understudy.web.dashboard.statics import FOLDER, TYPES, digest
from understudy.web.dashboard.visitor import Visit

router = APIRouter(route_class=Page, include_in_schema=False)


@router.get("/dashboard/static/{version}/{name}")
async def static(version: str, name: str) -> Response:
    """One of the files; its address changes with its content, so that browsers keep it."""
    if name not in TYPES:
        raise NotFound(f"there is no file {name}")
    kept = "public, max-age=31536000, immutable" if version == digest() else "no-cache"
    return FileResponse(FOLDER / name, media_type=TYPES[name], headers={"Cache-Control": kept})


@router.get("/dashboard/files/{artifact_id}")
@router.head("/dashboard/files/{artifact_id}")
async def file(
    visit: Visit, artifact_id: str, *, save: Annotated[bool, Query()] = False
) -> Response:
    """An artifact, whole or in ranges; only pictures, films and sounds are shown in place.

    Anything else could be a page of a stranger's making, and is only ever saved.
    """
    artifact = await visit.files.get(artifact_id)
    inline = shown_inline(artifact.media_type) and not save
    return FileResponse(
        await visit.files.path(artifact_id),
        media_type=artifact.media_type if inline else "application/octet-stream",
        filename=artifact.name,
        content_disposition_type="inline" if inline else "attachment",
        headers={
            "Cache-Control": "private, max-age=3600",
            "Content-Security-Policy": "sandbox; default-src 'none'; media-src 'self'",
        },
    )
